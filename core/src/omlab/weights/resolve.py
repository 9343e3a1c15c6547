"""From a model's card and tag to its weights on this machine."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omlab.errors import UnknownNameError, UsageError, WeightsError
from omlab.identities import UNTRAINED
from omlab.weights import cache, snapshot
from omlab.weights.files import check_regular
from omlab.weights.handed import Endpoint, Rules, Weights

if TYPE_CHECKING:
    from omlab.card_schema import ModelCard
    from omlab.card_schema import Weights as Published

LOCAL = "local"
"""The tag of weights that are a file or folder of the user's."""


def resolve(
    card: ModelCard,
    tag: str | None = None,
    *,
    weights: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    offline: bool | None = None,
) -> Weights | None:
    """The weights that a model is to be loaded with; None: untrained.

    Args:
        card: The model's card.
        tag: Tag of its weights; None or "": the card's default. Beside `weights` it says by whose rules that is read.
        weights: A file of the user's, or a folder where the card's weights are several files or a repository. It is
            read by the rules of the tag; without one, of the card's file of that name, else of the default weights.
            It may hold the weights alone, without the wrapper and the prefix that the published file has.
        settings: The model's, which addresses may name; left out, the card's defaults.
        offline: True: never use the network. None: as `OMLAB_OFFLINE` says.

    Raises:
        UnknownNameError: The card has no such tag.
        SettingsError: A setting that an address names cannot be part of one.
        WeightsError: What the user gave is not there or not of that form, or published weights cannot be had.
    """
    if weights is not None:
        path = Path(weights).expanduser()
        return _given(card, _whose(card, tag, path), path)
    tag = tag or card.default_weights
    if tag == UNTRAINED:
        return None
    published = offered(card, tag, settings=settings)
    if published.endpoint is not None:
        return _answering(card, tag, published, offline=offline)
    if published.repository is not None:
        got = snapshot.fetch(published.repository, offline=offline)
        return Weights(tag=tag, files=got.paths, folder=got.folder, digests=got.sha256)
    paths = {file.name: cache.fetch(file, offline=offline) for file in published.files}
    digests = {file.name: digest for file in published.files if (digest := cache.sha256_of(file))}
    return Weights(tag=tag, files=paths, rules={file.name: Rules.of(file) for file in published.files}, digests=digests)


def offered(card: ModelCard, tag: str, *, settings: Mapping[str, Any] | None = None) -> Published:
    """What the card says of the weights `tag`, by these settings of the model, else by its defaults.

    Raises `UnknownNameError` ('did you mean').
    """
    if tag in card.weights:
        defaults = {name: setting.default for name, setting in card.settings.items()}
        return card.weights[tag].at({**defaults, **(settings or {})})
    close = difflib.get_close_matches(tag, list(card.weights), n=2, cutoff=0.5)
    if close:
        hint = f"did you mean {' or '.join(map(repr, close))}?"
    else:
        hint = f"it offers {', '.join(card.weights)}." if card.weights else "it offers none."
    raise UnknownNameError(f"Model '{card.name}' has no published weights '{tag}': {hint}")


def _answering(card: ModelCard, tag: str, published: Published, *, offline: bool | None) -> Weights:
    assert published.endpoint is not None
    if cache.is_offline() if offline is None else offline:
        raise WeightsError(f"'{card.name}.{tag}' answers at {published.endpoint}, and the network is off.")
    endpoint = Endpoint(url=published.endpoint, model_id=published.model_id, key_env=published.key_env)
    return Weights(tag=tag, endpoint=endpoint)


def _whose(card: ModelCard, tag: str | None, path: Path) -> Published | None:
    """The weights of the card that `path` stands for; None where the card has none."""
    if tag and tag != UNTRAINED:
        return offered(card, tag)
    named = [entry for entry in card.weights.values() if any(file.name == path.name for file in entry.files)]
    if named:
        return named[0]
    default = card.weights.get(card.default_weights)
    return default or next(iter(card.weights.values()), None)


def _given(card: ModelCard, published: Published | None, path: Path) -> Weights:
    """A file or folder of the user's, in place of what the card has published."""
    if published is not None and published.endpoint is not None:
        raise UsageError(f"'{card.name}' answers at {published.endpoint}: it takes no --weights.")
    names = [file.name for file in published.files] if published is not None else []
    if path.is_dir() and len(names) != 1:
        return _folder(path, published)
    check_regular(path)
    if len(names) > 1:
        raise WeightsError(f"'{card.name}' has weights of {len(names)} files: name the folder of {', '.join(names)}.")
    if published is not None and published.repository is not None:
        raise WeightsError(f"'{card.name}' has a repository for its weights: name the folder, not {path}.")
    rules = Rules.of(published.files[0], converted=True) if published is not None else Rules(converted=True)
    return Weights(tag=LOCAL, files={path.name: path}, rules={path.name: rules})


def _folder(path: Path, published: Published | None) -> Weights:
    if published is None or published.repository is not None:
        paths = dict(snapshot.members(path))
        if not paths:
            raise WeightsError(f"The folder {path} holds no file.")
        return Weights(tag=LOCAL, files=paths, folder=path)
    paths = {file.name: path / file.name for file in published.files}
    for entry in paths.values():
        check_regular(entry)
    rules = {file.name: Rules.of(file, converted=True) for file in published.files}
    return Weights(tag=LOCAL, files=paths, folder=path, rules=rules)

"""From a model's name and tag to the path of its weights."""

from __future__ import annotations

import difflib
from pathlib import Path

from omlab.card_schema import ModelCard
from omlab.errors import UnknownNameError, UsageError, WeightsError
from omlab.weights import cache

UNTRAINED = "untrained"


def split_name(name: str) -> tuple[str, str | None]:
    """`stunet-base.totalsegmentator` as model and tag; the tag is None where the name has none."""
    model, _, tag = name.partition(".")
    return model, tag or None


def resolve(
    card: ModelCard, tag: str | None = None, *, weights: Path | None = None, offline: bool | None = None
) -> Path | None:
    """The weights that a model is to be loaded with; None: untrained.

    Args:
        card: The model's card.
        tag: Tag of its weights; None: the card's default.
        weights: A local file of the user's, taken in place of the tag's.
        offline: Passed on to `fetch`.

    Returns:
        A local path. Where the tag has several files all are fetched, and the first one's path is given.

    Raises:
        UnknownNameError: The card has no such tag.
        WeightsError: The local file is not there, or a published one cannot be had.
    """
    if weights is not None:
        if tag == UNTRAINED:
            raise UsageError(
                f"'{card.name}.{UNTRAINED}' takes no weights file; leave '.{UNTRAINED}' or {weights} away."
            )
        return _local(Path(weights))
    tag = tag or card.default_weights
    if tag == UNTRAINED:
        return None
    if tag not in card.weights:
        raise UnknownNameError(_unknown(card, tag))
    paths = [cache.fetch(file, offline=offline) for file in card.weights[tag].files]
    return paths[0]


def _local(path: Path) -> Path:
    path = path.expanduser()
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; name the weights file inside it.")
    if not path.exists():
        raise WeightsError(f"There is no weights file {path}.")
    return path


def _unknown(card: ModelCard, tag: str) -> str:
    known = [*card.weights, UNTRAINED]
    close = difflib.get_close_matches(tag, known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"there are {', '.join(known)}."
    return f"Model '{card.name}' has no weights '{tag}': {hint}"

"""From a model's name and tag to the path of its weights."""

from __future__ import annotations

import difflib
from pathlib import Path

from omlab.card_schema import ModelCard, Weights
from omlab.errors import UnknownNameError, WeightsError
from omlab.weights import cache

UNTRAINED = "untrained"


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
        return _local(Path(weights))
    tag = tag or card.default_weights
    if tag == UNTRAINED:
        return None
    paths = [cache.fetch(file, offline=offline) for file in offered(card, tag).files]
    return paths[0]


def offered(card: ModelCard, tag: str) -> Weights:
    """What the card says of the weights `tag`. Raises `UnknownNameError` ('did you mean')."""
    if tag in card.weights:
        return card.weights[tag]
    close = difflib.get_close_matches(tag, list(card.weights), n=2, cutoff=0.5)
    if close:
        hint = f"did you mean {' or '.join(map(repr, close))}?"
    else:
        hint = f"it offers {', '.join(card.weights)}." if card.weights else "it offers none."
    raise UnknownNameError(f"Model '{card.name}' has no published weights '{tag}': {hint}")


def _local(path: Path) -> Path:
    path = path.expanduser()
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; name the weights file inside it.")
    if not path.exists():
        raise WeightsError(f"There is no weights file {path}.")
    return path

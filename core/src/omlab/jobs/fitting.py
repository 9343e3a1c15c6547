"""Which of the cards of one network is for the files that a user names."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omlab.cases import cases_in
from omlab.errors import InputError, OmlabNote
from omlab.models import find_card

if TYPE_CHECKING:
    from omlab.card_schema import ModelCard


def fitting(
    name: str, verb: str, paths: Sequence[Path], *, named: Collection[str] = (), settings: Collection[str] = ()
) -> str:
    """`name`, or the first of the cards that its card names in `also` that reads the paths, with the same weights.

    Of several that read them it is the first that knows the settings: a picture may be an image, and a slide of one
    level, but only slides have a scale to be read at. An adapted model is always itself. What none of them reads stays
    with `name`, which says what is wrong.

    Args:
        name: Of a model, with or without the tag of its weights.
        verb: What is to be done with the paths.
        paths: Of the input without a name.
        named: The inputs that are given by name.
        settings: Names of the settings and options that are given.

    Raises `UnknownNameError`, `UsageError` or `CardError` where there is no such model.
    """
    card = find_card(name)
    if not card.also or not paths or Path(name).is_dir():
        return name
    _, dot, tag = name.partition(".")
    reading = [
        other for other in (card, *(find_card(also) for also in card.also)) if _takes(other, verb, paths[0], named)
    ]
    knowing = [other for other in reading if set(settings) <= {*other.settings, *other.does[verb].options}]
    return next((f"{other.name}{dot}{tag}" for other in (*knowing, *reading)), name)


def _takes(card: ModelCard, verb: str, path: Path, named: Collection[str]) -> bool:
    facts = card.does.get(verb)
    free = next((kind for kind in facts.required if kind not in named), None) if facts else None
    return facts is not None and free is not None and _reads(path, facts.kinds[free], name=free)


def _reads(path: Path, kind: str, *, name: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OmlabNote)  # given again where the cases are listed to be done
        try:
            return bool(cases_in([path], kind, name=name))
        except InputError:
            return False

"""What training wants to know of a data set beforehand and its files do not say, such as the median spacing.

A data set says what it can without reading (`Dataset.about`). What is missing is found by reading the cases once, and
kept beside the run: facts of the inputs by the survey of their kind (`survey` in its card), and the classes of targets
that are `Labelled`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from omlab import progress
from omlab.card_schema import PayloadCard, validate
from omlab.digests import digest_of
from omlab.errors import UnknownNameError, UsageError
from omlab.files import write_json
from omlab.payloads import Labelled, describe, keeps
from omlab.registry import load_entry, registry
from omlab.roles import About, Case, Dataset

Survey = Callable[[Sequence[Case], str], Mapping[str, Any]]
Find = Callable[[Sequence[Case]], Mapping[str, Any]]
_SURVEY, _CLASSES = "survey", "classes"


def surveyed(data: Dataset, split: str, *, folder: Path) -> About:
    """`data.about(split)` with the facts of every input whose kind has a survey, and the classes of the targets.

    What had to be read is kept in `folder` for the next time.
    """
    about = data.about(split)
    facts = dict(about.facts)
    for name, kind in about.inputs.items():
        survey = _survey_of(kind)
        if name not in facts and survey is not None:
            facts[name] = _kept(folder, f"{_SURVEY}-{name}", data, split, _of_input(survey, name))
    about = replace(about, facts=facts)
    if about.classes or not _is_labelled(about.target):
        return about
    found = _kept(folder, _CLASSES, data, split, _classes)
    return replace(about, classes={int(value): name for value, name in found.items()})


class Surveyed:
    """A data set whose `about` holds what surveys found; all else is the data set's own."""

    def __init__(self, data: Dataset, *, folder: Path) -> None:
        self._data = data
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._data, name)

    def about(self, split: str) -> About:
        """What the split holds, with what surveys found."""
        return surveyed(self._data, split, folder=self._folder)


def forget(folder: Path) -> None:
    """Remove what was kept in `folder`."""
    for pattern in (f"{_SURVEY}-*.json", f"{_CLASSES}-*.json"):
        for kept in folder.glob(pattern):
            kept.unlink()


def classes_in(cases: Sequence[Case]) -> Iterator[Mapping[int, str]]:
    """The classes that occur in each case, value to name, read from its target; empty for a case without one.

    Raises `UsageError` where targets are of a kind without classes.
    """
    with progress.bar("reading targets", total=len(cases)) as advance:
        for case in cases:
            target = case.load().target
            if target is not None and not keeps(target, Labelled):
                raise UsageError(f"The target of case '{case.id}', a {describe(target)}, has no classes.")
            yield target.present() if target is not None else {}
            advance(1)


def _classes(cases: Sequence[Case]) -> dict[str, str]:
    """By value; of several names for one the first, which `verify` of the data set tells of."""
    found: dict[int, str] = {}
    for present in classes_in(cases):
        found = {**present, **found}
    return {str(value): found[value] for value in sorted(found)}


def _of_input(survey: Survey, name: str) -> Find:
    return lambda cases: survey(cases, name)


def _kept(folder: Path, name: str, data: Dataset, split: str, find: Find) -> Mapping[str, Any]:
    kept = folder / f"{name}-{digest_of([data.digest(split), name])[:12]}.json"
    if not kept.is_file():
        write_json(kept, dict(find(data.cases(split))))
    return cast(Mapping[str, Any], json.loads(kept.read_text(encoding="utf-8")))


def _survey_of(kind: str) -> Survey | None:
    card, load = _payload(kind)
    return cast(Survey, load(card.survey)) if card is not None and card.survey else None


def _is_labelled(kind: str) -> bool:
    card, load = _payload(kind)
    return card is not None and hasattr(load(card.entry), "present")


def _payload(kind: str) -> tuple[PayloadCard | None, Callable[[str], Any]]:
    """The card of a kind, None where there is none, and what imports its entries."""
    try:
        offer = registry().get("payload", kind)
    except UnknownNameError:
        return None, lambda entry: None
    return cast(PayloadCard, validate(offer)), lambda entry: load_entry(offer, entry)

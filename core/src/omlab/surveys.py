"""What training wants to know of a data set's inputs beforehand, such as the median spacing of its volumes.

A data set says what it can without reading (`Dataset.about`); what is missing is found by the survey of the input's
kind (`survey` in its card), which reads the cases once, and kept beside the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import PayloadCard, validate
from omlab.digests import digest_of
from omlab.errors import UnknownNameError
from omlab.files import write_json
from omlab.registry import load_entry, registry
from omlab.roles import About, Case, Dataset

Survey = Callable[[Sequence[Case], str], Mapping[str, Any]]


def surveyed(data: Dataset, split: str, *, folder: Path) -> About:
    """`data.about(split)` with the facts of every input whose kind has a survey; kept in `folder` for the next time."""
    about = data.about(split)
    facts = dict(about.facts)
    for name, kind in about.inputs.items():
        survey = _survey_of(kind)
        if name in facts or survey is None:
            continue
        kept = folder / f"survey-{name}-{digest_of([data.digest(split), kind])[:12]}.json"
        if not kept.is_file():
            write_json(kept, dict(survey(data.cases(split), name)))
        facts[name] = json.loads(kept.read_text(encoding="utf-8"))
    return replace(about, facts=facts)


class Surveyed:
    """A data set whose `about` holds the facts of the surveys; all else is the data set's own."""

    def __init__(self, data: Dataset, *, folder: Path) -> None:
        self._data = data
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._data, name)

    def about(self, split: str) -> About:
        """What the split holds, with the facts of the surveys."""
        return surveyed(self._data, split, folder=self._folder)


def _survey_of(kind: str) -> Survey | None:
    try:
        offer = registry().get("payload", kind)
    except UnknownNameError:
        return None
    card = cast(PayloadCard, validate(offer))
    return cast(Survey, load_entry(offer, card.survey)) if card.survey else None

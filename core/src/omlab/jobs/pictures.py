"""Pictures of results over their inputs: where they go, and drawing those that were asked for later."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from omlab.errors import OmlabWarning, UsageError
from omlab.formats import format_cards, overlay_format, read
from omlab.jobs.outcome import Outcome
from omlab.jobs.outputs import PICTURE, draw, file_name
from omlab.payloads import Payload, an
from omlab.records import Record
from omlab.roles import Case


def check_pictures(gives: str, place: Path | None, *, count: int) -> None:
    """Raise `UsageError` where results of a kind have no picture, or `count` of them do not go into that place.

    Of a kind that no format writes the parts are written, whose kinds are seen when they are there.
    """
    if place is None:
        return
    has_parts = not any(gives in card.writes for card in format_cards())
    if not has_parts and not any(gives in card.pictured for card in format_cards()):
        raise UsageError(f"{an(gives).capitalize()} has no picture: leave --overlay out.")
    if not _is_folder(place) and place.suffix.lower() != PICTURE and overlay_format(place, gives) is None:
        suffixes = [suffix for card in format_cards() if gives in card.overlays for suffix in card.suffixes]
        ends = " or ".join([PICTURE, *suffixes])
        raise UsageError(f"A picture cannot be written to {place}: name a file that ends in {ends}, or a folder.")
    if count > 1 and not _is_folder(place):
        raise UsageError(f"{count} pictures cannot go into one file {place}; name a folder with --overlay.")


def plan_pictures(place: Path | None, ids: Sequence[str]) -> dict[str, Path]:
    """Where the picture of each case goes: `place` for one case, or `<id>.png` in it where it is a folder."""
    if place is None:
        return {}
    if _is_folder(place):
        return {id: place / f"{file_name(id)}{PICTURE}" for id in ids}
    return dict.fromkeys(ids, place)


def _is_folder(place: Path) -> bool:
    return place.is_dir() or not place.suffix


def with_pictures(outcome: Outcome, cases: Sequence[Case], gives: str, pictures: Mapping[str, Path]) -> Outcome:
    """Pictures asked for later, of results that are there: drawn without doing the work again."""
    by_id = {case.id: case for case in cases if case.id in pictures}
    drawn = []
    for id, place in pictures.items():
        record = outcome.cases.get(id)
        if record is None or record.status != "done" or not record.main():
            continue
        if not place.exists():
            folder = outcome.place if outcome.place.is_dir() else outcome.place.parent
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OmlabWarning)  # what there is to say of the input is in its record
                draw(_parts(record, folder, gives), by_id[id].load(), place, kind=gives)
        drawn.append(place)
    return replace(outcome, pictures=drawn)


def _parts(record: Record, folder: Path, gives: str) -> list[Payload]:
    """The main outputs of a case as they were written, but for those in files of many entries."""
    many = {card.name for card in format_cards() if card.many}
    rows = [row for row in record.outputs if row.get("role") == "main" and "path" in row]
    return [read(folder / row["path"], kind=row.get("kind", gives)) for row in rows if row.get("format") not in many]

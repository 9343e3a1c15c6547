"""The strip of pictures on the page: cases that were told wrongly and rightly, with what the model said of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omlab_evaluators.classification.summary import Judged
from omlab_evaluators.thumbnails import path_of_picture
from omlab_report import Gallery, GalleryItem, Picture, Section

SHOWN = 12
"""Pictures of each kind: each adds some fifty kilobytes to the page."""


def strip_section(judged: Judged, order: Sequence[int], *, folder: Path) -> list[Section]:
    """Wrong cases, the largest error first, and right ones, those in most doubt first; none without pictures.

    Args:
        judged: The cases.
        order: Their places, wrong ones first, the largest error of the probabilities first.
        folder: Of the report.
    """
    items = []
    for is_right, title, text in (
        (False, "Wrong", "The largest error of the probabilities first."),
        (True, "Right", "Those that the model was in most doubt about first."),
    ):
        places = [place for place in order if bool(judged.correct[place]) == is_right]
        pictured = [place for place in places if path_of_picture(folder, case=judged.cases[place]).is_file()]
        if pictured:
            shown = f" {SHOWN} of {len(pictured)}." if len(pictured) > SHOWN else ""
            pictures = [_picture(judged, place, folder=folder) for place in pictured[:SHOWN]]
            items.append(GalleryItem(title, pictures, text=f"{text}{shown}"))
    if not items:
        return []
    text = "Each with its reference, and the probability that the model gave to what it predicted."
    return [Section("Right and wrong", [Gallery(items, small=True)], text=text)]


def _picture(judged: Judged, place: int, *, folder: Path) -> Picture:
    right = _names(judged, judged.right[place])
    names = [name for name, flag in zip(judged.names, judged.predicted[place], strict=True) if flag]
    numbers = judged.probabilities[place, judged.predicted[place]].tolist()
    said = ", ".join(f"{name} {number:.2f}" for name, number in zip(names, numbers, strict=True)) or "nothing"
    return Picture(
        path_of_picture(folder, case=judged.cases[place]).read_bytes(),
        alt=f"{judged.cases[place]}: {right}, predicted {said}",
        caption=f"{right}; said: {said} ({judged.cases[place]})",
    )


def _names(judged: Judged, flags: Sequence[bool]) -> str:
    return ", ".join(name for name, flag in zip(judged.names, flags, strict=True) if flag) or "none"

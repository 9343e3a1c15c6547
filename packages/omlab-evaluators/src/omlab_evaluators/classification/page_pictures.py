"""The strip of pictures on the page: cases that were told wrongly and rightly, with what the model said of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from omlab_evaluators.classification.summary import Judged
from omlab_evaluators.thumbnails import path_of_picture
from omlab_report import Gallery, GalleryItem, Picture, Section

SHOWN = 12
"""Pictures of each kind: each adds some fifty kilobytes to the page."""


LOOKED_AT = "explanations"
"""The kind of picture that shows where the model looked."""


def strip_section(judged: Judged, order: Sequence[int], *, folder: Path) -> list[Section]:
    """Wrong cases, the largest error first, and right ones, those in most doubt first; none without pictures.

    Args:
        judged: The cases.
        order: Their places, wrong ones first, the largest error of the probabilities first.
        folder: Of the report.
    """
    items = []
    for title, text, places in (
        ("Wrong", "The largest error of the probabilities first.", _places(judged, order, is_right=False)),
        ("Right", "Those that the model was in most doubt about first.", _places(judged, order, is_right=True)),
    ):
        pictured = [place for place in places if path_of_picture(folder, case=judged.cases[place]).is_file()]
        if pictured:
            shown = f" {SHOWN} of {len(pictured)}." if len(pictured) > SHOWN else ""
            pictures = [picture for place in pictured[:SHOWN] for picture in _pictures(judged, place, folder=folder)]
            items.append(GalleryItem(title, pictures, text=f"{text}{shown}"))
    if not items:
        return []
    text = "Each with its reference, and the probability that the model gave to what it predicted."
    if (folder / LOOKED_AT).is_dir():
        text += " Beside it where the model looked, the brighter the more: that is no proof of why it said so."
    return [Section("Right and wrong", [Gallery(items, small=True)], text=text)]


def shown_in_strip(judged: Judged, order: Sequence[int]) -> list[str]:
    """The ids of the cases whose pictures the strip shows, where they have one."""
    places = [_places(judged, order, is_right=is_right)[:SHOWN] for is_right in (False, True)]
    return [judged.cases[place] for place in itertools.chain(*places)]


def _places(judged: Judged, order: Sequence[int], *, is_right: bool) -> list[int]:
    return [place for place in order if bool(judged.correct[place]) == is_right]


def _pictures(judged: Judged, place: int, *, folder: Path) -> list[Picture]:
    """The case, and where the model looked."""
    case, right = judged.cases[place], _names(judged, judged.right[place])
    names = [name for name, flag in zip(judged.names, judged.predicted[place], strict=True) if flag]
    numbers = judged.probabilities[place, judged.predicted[place]].tolist()
    said = ", ".join(f"{name} {number:.2f}" for name, number in zip(names, numbers, strict=True)) or "nothing"
    pictures = [
        Picture(
            path_of_picture(folder, case=case).read_bytes(),
            alt=f"{case}: {right}, predicted {said}",
            caption=f"{right}; said: {said} ({case})",
        )
    ]
    looked_at = path_of_picture(folder, case=case, kind=LOOKED_AT)
    if looked_at.is_file():
        pictures.append(Picture(looked_at.read_bytes(), alt=f"{case}: where the model looked", caption="looked at"))
    return pictures


def _names(judged: Judged, flags: Sequence[bool]) -> str:
    return ", ".join(name for name, flag in zip(judged.names, flags, strict=True) if flag) or "none"

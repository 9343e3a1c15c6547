"""Boxes as Pascal VOC's XML has them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from omlab.errors import InputError
from omlab_payloads.boxes import Box, Boxes

_SLACK = 1.0
"""Pixels that a box may reach beyond the frame: VOC counts them from 1, others from 0."""


def read_boxes(path: Path, *, classes: Collection[str], size: tuple[int, int]) -> Boxes:
    """The boxes of a frame of `size` (rows, columns), cut off at its edges; pixels are counted from 0.

    Raises `InputError` where the file is none, a class is unknown, or a box lies outside the frame.
    """
    from defusedxml.ElementTree import ParseError, parse  # type: ignore[import-untyped]

    try:
        root = parse(path).getroot()
    except (OSError, ValueError, ParseError) as error:
        raise InputError(f"{path} cannot be read as the boxes of a frame (Pascal VOC's XML): {error}.") from error
    return Boxes(space="pixel", boxes=[_box(entry, path, classes, size) for entry in root.iter("object")])


def _box(entry: Any, path: Path, classes: Collection[str], size: tuple[int, int]) -> Box:
    label = (entry.findtext("name") or "").strip()
    if label not in classes:
        raise InputError(f"{path} has a box of the class '{label}', which is none of {', '.join(classes)}.")
    try:
        left, top, right, bottom = (float(entry.findtext(f"bndbox/{at}")) for at in ("xmin", "ymin", "xmax", "ymax"))
    except (TypeError, ValueError):
        raise InputError(f"{path} has a box without the numbers xmin, ymin, xmax and ymax.") from None
    rows, columns = size
    is_inside = -_SLACK <= left <= right <= columns - 1 + _SLACK and -_SLACK <= top <= bottom <= rows - 1 + _SLACK
    if not is_inside:
        raise InputError(
            f"{path} has a box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}), which does not lie in its frame of "
            f"{columns} x {rows} pixels."
        )
    # the outer edges of its first and last pixels
    near = (max(left, 0.0) - 0.5, max(top, 0.0) - 0.5)
    far = (min(right, columns - 1.0) + 0.5, min(bottom, rows - 1.0) + 0.5)
    return Box(near=near, far=far, label=label)

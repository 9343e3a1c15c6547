"""Pictures of the cases, kept for the page: each prediction draws itself over its input, the reference outlined."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from omlab.errors import OmlabError, OmlabWarning
from omlab.files import writing
from omlab.payloads import Payload, Pictured
from omlab.roles import Sample
from omlab_evaluators.thumbnails import path_of_picture


def draw(sample: Sample, prediction: Payload, *, folder: Path) -> None:
    """Write the picture of a case where the prediction has one; what cannot be drawn is warned about."""
    if isinstance(prediction, Pictured):
        keep(sample, lambda: prediction.overlay(sample.inputs, target=sample.target), folder=folder)


def keep(sample: Sample, draw: Callable[[], bytes], *, folder: Path) -> None:
    """Write what `draw` gives, a PNG, as the picture of a case; one that cannot be drawn is warned about."""
    try:
        picture = draw()
    except OmlabError as error:
        warnings.warn(f"Case {sample.id} has no picture: {error}", OmlabWarning, stacklevel=2)
        return
    path = picture_path(folder, case=sample.id)
    with writing("A picture", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)


def picture_path(folder: Path, *, case: str) -> Path:
    """Where the picture of a case lies."""
    return path_of_picture(folder, case=case, kind="overlays")

"""Pictures of the cases: each prediction draws itself over its input, the reference outlined."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path

from omlab.errors import OmlabError, OmlabWarning
from omlab.files import writing
from omlab.payloads import Payload, Pictured
from omlab.roles import Sample


def draw(sample: Sample, prediction: Payload, *, folder: Path) -> None:
    """Write the picture of a case where the prediction has one; what cannot be drawn is warned about."""
    if not isinstance(prediction, Pictured):
        return
    try:
        picture = prediction.overlay(sample.inputs, target=sample.target)
    except OmlabError as error:
        warnings.warn(f"Case {sample.id} has no picture: {error}", OmlabWarning, stacklevel=2)
        return
    path = picture_path(folder, case=sample.id)
    with writing("A picture", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)


def picture_path(folder: Path, *, case: str) -> Path:
    """Where the picture of a case lies. Ids that are no plain file names get a digest."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", case).lstrip(".")[:80]
    if plain != case:
        plain = f"{plain}-{hashlib.sha256(case.encode('utf-8')).hexdigest()[:8]}"
    return folder / "overlays" / f"{plain}.png"

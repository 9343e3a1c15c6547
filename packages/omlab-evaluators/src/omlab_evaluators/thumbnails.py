"""Small pictures of the inputs of cases, for pages that show some of them."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path

from omlab.errors import OmlabError, OmlabWarning
from omlab.files import writing
from omlab.payloads import Viewable
from omlab.roles import Sample

SIZE = 192
"""Pixels of the longer side."""


def keep_picture(sample: Sample, *, folder: Path) -> None:
    """Write a small picture of the first input that can be looked at; one that cannot be drawn is warned about."""
    viewable = next((payload for payload in sample.inputs.values() if isinstance(payload, Viewable)), None)
    if viewable is not None:
        try:
            draw_picture(viewable, path_of_picture(folder, case=sample.id))
        except OmlabError as error:
            warnings.warn(f"Case {sample.id} has no picture: {error}", OmlabWarning, stacklevel=2)


def draw_picture(viewable: Viewable, path: Path) -> None:
    """Write a small picture of a payload. Raises `OmlabError` where it cannot be drawn or written."""
    picture = viewable.thumbnail(size=SIZE)
    with writing("A picture", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)


def path_of_picture(folder: Path, *, case: str, kind: str = "pictures") -> Path:
    """Where a picture of a case lies, one of each `kind`. Ids that are no plain file names get a digest."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", case).lstrip(".")[:80]
    if plain != case:
        plain = f"{plain}-{hashlib.sha256(case.encode('utf-8')).hexdigest()[:8]}"
    return folder / kind / f"{plain}.png"

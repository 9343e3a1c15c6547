"""The formats `slide` and `slide-dicom`: what the command line reads slides with."""

from __future__ import annotations

from pathlib import Path

from omlab.errors import InputError
from omlab_slide.slide import Slide, open_slide


class SlideFile:
    """Opens slides; pixels are read when they are asked for."""

    def read(self, path: Path, *, kind: str, mpp: float = 0.0, reader: str = "") -> Slide:
        """Open `path` as a `slide`. Raises `InputError` that says what each library says of it."""
        if kind != Slide.kind:
            raise InputError(f"{path} is read as a slide, not as a '{kind}'.")
        return open_slide(path, mpp=mpp, reader=reader)

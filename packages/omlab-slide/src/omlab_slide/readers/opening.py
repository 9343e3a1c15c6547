"""Which library opens a slide: the first that can, and why none could."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from omlab.errors import InputError, UsageError
from omlab_slide.readers.reader import Reader

READERS = {
    "openslide": "omlab_slide.readers.with_openslide",
    "tiffslide": "omlab_slide.readers.with_tiffslide",
    "picture": "omlab_slide.readers.with_pillow",
}
"""Modules by the reader's name, in the order in which they are tried: each has `open_reader(path) -> Reader`."""
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
"""Suffixes of plain pictures, which are slides of one level."""


@dataclass(frozen=True)
class FileOpener:
    """Opens a file with a library."""

    path: Path
    reader: str

    def __call__(self) -> Reader:
        """The open slide. Raises `InputError` that names the file."""
        if not self.path.exists():
            raise InputError(f"{self.path} does not exist.")
        return cast(Reader, import_module(READERS[self.reader]).open_reader(self.path))


def opener_for(path: Path, *, reader: str) -> tuple[FileOpener, Reader]:
    """What opens the slide, and the slide that it opened. Raises `InputError` with what each library says."""
    if reader and reader not in READERS:
        raise UsageError(f"There is no reader '{reader}'; there are {', '.join(READERS)}.")
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if path.is_file() and not path.stat().st_size:
        raise InputError(f"{path} is empty (0 bytes): copy or export it again.")
    names = [reader] if reader else ["picture"] if path.suffix.lower() in PICTURES else ["openslide", "tiffslide"]
    reasons = []
    best: tuple[FileOpener, Reader] | None = None
    for name in names:
        opener = FileOpener(path, name)
        try:
            found = opener()
        except InputError as error:
            reasons.append(f"{name}: {error}")
            continue
        if best is None or len(found.levels) > len(best[1].levels):
            if best is not None:
                best[1].close()
            best = opener, found
        else:
            found.close()
        if len(best[1].levels) > 1:
            break
    if best is None:
        raise InputError(f"{path} cannot be opened as a slide ({'; '.join(reasons)}).")
    return best

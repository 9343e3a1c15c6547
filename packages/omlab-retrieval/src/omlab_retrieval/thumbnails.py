"""Small pictures of cases: JPEG of whatever Pillow reads; of other files (volumes, slides) there is none."""

from __future__ import annotations

import io
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

    from omlab.records import Record

SIDE = 240
"""Pixels of the longer side."""
_MOST_PIXELS = 100_000_000
_PERCENTILES = (0.5, 99.8)
"""Shown from black to white, of more than 8 bits."""


def can_draw() -> bool:
    """Whether Pillow is installed."""
    return find_spec("PIL") is not None


def thumbnail_of(record: Record | None) -> bytes | None:
    """A small picture of the first file of a case that is a picture; None where there is none."""
    return next((picture for path in files_of(record) if (picture := thumbnail(path)) is not None), None)


def files_of(record: Record | None) -> list[Path]:
    """The files that a case was read from, but for its target."""
    parts = {} if record is None else record.inputs
    return [Path(row["path"]) for name, rows in parts.items() if name != "target" for row in rows if "path" in row]


def thumbnail(path: Path) -> bytes | None:
    """The bytes of a JPEG; None where the file is not there, not a picture, or too large to be looked at."""
    if not can_draw() or not path.is_file():
        return None
    from PIL import Image

    stream = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is odd in the file, who read the case was told
            with Image.open(path) as opened:
                if opened.width * opened.height > _MOST_PIXELS:
                    return None
                _small(opened).save(stream, "JPEG", quality=80)
    except Exception:  # a damaged picture raises anything; the case was embedded, only its picture is lacking
        return None
    return stream.getvalue()


def _small(opened: Image) -> Image:
    """Upright, in RGB, of at most `SIDE` pixels; what is transparent is black."""
    from PIL import Image, ImageOps

    opened.draft("RGB", (2 * SIDE, 2 * SIDE))  # JPEG is decoded at a part of its size
    image: Image.Image = ImageOps.exif_transpose(opened)
    if image.mode.startswith(("I", "F")):
        image = _stretched(image)
    elif "A" in image.mode.upper() or "transparency" in image.info:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, (0, 0, 0, 255)), above)
    image = image.convert("RGB")
    image.thumbnail((SIDE, SIDE))
    return image


def _stretched(image: Image) -> Image:
    """More than 8 bits as 8: the values that most pixels have, from black to white."""
    from PIL import Image

    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    low, high = np.percentile(values, _PERCENTILES)
    share = np.clip((values - low) / max(high - low, np.finfo(float).tiny), 0, 1)
    return Image.fromarray(np.rint(255 * share).astype(np.uint8))

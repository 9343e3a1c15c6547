"""What a TIFF says of its voxel size: OME-XML, ImageJ's description, or its resolution tags."""

from __future__ import annotations

import re
from typing import Any

_UM = {
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "\\u00b5m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "inch": 25400.0,
}
_CENTIMETRE = 3  # of the tag ResolutionUnit

Stated = tuple[float | None, float | None, float | None]


def stated_spacing(tif: Any, *, is_slice: bool) -> Stated:
    """Voxel size (x, y, z) in micrometre as an open `tifffile.TiffFile` says; None along an axis of which it does not.

    `is_slice`: the file is one of a stack, whose distance is not its own to say. The unit inch is taken for what
    programs write that know no size, since no microscope has one, and says nothing.
    """
    if tif.is_ome:
        return _of_ome(tif.ome_metadata or "", is_slice=is_slice)
    x, y = (_resolution(tif.pages[0], name) for name in ("XResolution", "YResolution"))
    facts = tif.imagej_metadata or {}
    unit = _UM.get(str(facts.get("unit", "")))
    if unit is not None:
        depth = None if is_slice or "spacing" not in facts else float(facts["spacing"]) * unit
        return tuple_of(None if x is None else unit / x, None if y is None else unit / y, depth)
    tag = tif.pages[0].tags.get("ResolutionUnit")
    if tag is not None and int(tag.value) == _CENTIMETRE:
        return tuple_of(None if x is None else 1e4 / x, None if y is None else 1e4 / y, None)
    return None, None, None


def tuple_of(x: float | None, y: float | None, z: float | None) -> Stated:
    """The three, without sizes that cannot be."""
    good = [size if size is not None and 0 < size < 1e6 else None for size in (x, y, z)]
    return good[0], good[1], good[2]


def _resolution(page: Any, name: str) -> float | None:
    """Pixels per unit."""
    tag = page.tags.get(name)
    if tag is None:
        return None
    above, below = tag.value if isinstance(tag.value, tuple) else (tag.value, 1)
    return above / below if above and below else None


def _of_ome(text: str, *, is_slice: bool) -> Stated:
    sizes: list[float | None] = []
    for axis in "XYZ":
        found = re.search(rf'PhysicalSize{axis}="([^"]+)"', text)
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text)
        factor = _UM.get(unit[1]) if unit else 1.0  # the schema's default is micrometre
        try:
            sizes.append(float(found[1]) * factor if found and factor else None)
        except ValueError:
            sizes.append(None)
    return tuple_of(sizes[0], sizes[1], None if is_slice else sizes[2])

"""Reading the h5 files of features that CLAM and TRIDENT write.

Both hold `features` (N, D) and `coords` (N, 2). TRIDENT says beside the coordinates how large patches and slide are;
CLAM does not: its `patches/<slide>.h5` does, where that lies near, else the side of a patch is taken from the
coordinates' distances, with a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError, OmlabWarning
from omlab_slide.bag import Bag, Coords

_POWER = 10.0
"""Micrometres a pixel times magnification."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is known of patches and slide beside features and coordinates, in the fields of a `Bag`."""

    size0: int
    dimensions: tuple[int, int]
    size: int = 0
    overlap: int = 0
    mpp: float | None = None
    target_mpp: float | None = None


class BagH5:
    """The format `bag-h5`: reads features of CLAM and of TRIDENT."""

    def read(self, path: Path, *, kind: str) -> Bag:
        """The bag of a file; features are read when they are asked for.

        Warns of what the file does not say. Raises `InputError` where it holds no features, or is damaged.
        """
        with opened(path) as file:
            features, coords = _dataset(file, "features", path), _dataset(file, "coords", path)
            corners = coords[...].astype(np.int32)
            if corners.ndim != 2 or corners.shape[1] != 2 or not len(corners):
                raise InputError(f"{path} has coords of the shape {coords.shape}, not (N, 2) of at least one patch.")
            if features.ndim != 2 or features.shape[0] != len(corners) or features.dtype.kind != "f":
                raise InputError(
                    f"{path} has features {features.shape} of {features.dtype} for {len(corners)} coordinates: (N, D) "
                    "of floating point, one row for each, is needed."
                )
            stored = H5Features(path=path, shape=features.shape)
            about = dict(coords.attrs)
            encoder = features.attrs.get("encoder")
        layout = layout_of(about, corners, path=path)
        return Bag(
            features=stored,
            coords=corners,
            share=np.ones(len(corners), np.float16),
            encoder={} if encoder is None else {"name": _text(encoder)},
            slide={"name": _text(about["name"]) if "name" in about else path.stem},
            **vars(layout),
        )


@dataclass(frozen=True, kw_only=True)
class H5Features:
    """The features of an h5 file as float32, read by rows when they are asked for; picklable."""

    path: Path
    shape: tuple[int, int]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.integer], /) -> NDArray[np.float32]:
        with opened(self.path) as file:
            try:
                found = file["features"][rows if isinstance(rows, slice) else slice(None)]
            except (OSError, RuntimeError, KeyError) as error:
                raise InputError(f"{self.path} cannot be read ({error}): it is damaged or cut short.") from error
        kept = np.asarray(found if isinstance(rows, slice) else found[rows], np.float32)
        if not np.isfinite(kept).all():
            raise InputError(f"{self.path} has features that are NaN or infinite: make them again, or leave it out.")
        return kept

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # NumPy's form
        return np.asarray(self[:], dtype)


def opened(path: Path) -> Any:
    """An open h5 file. Raises `InputError` that names it."""
    import h5py  # type: ignore[import-untyped]

    if not path.is_file():
        raise InputError(f"{path} {'is no file' if path.exists() else 'does not exist'}.")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} is no h5 file, or is damaged or cut short: copy it again.") from error


def layout_of(about: Mapping[str, Any], coords: Coords, *, path: Path) -> Layout:
    """What is known of patches and slide: by TRIDENT's attributes, by CLAM's, by the file of patches, else guessed.

    Warns where something was guessed. Raises `InputError` where nothing can be.
    """
    for known in (about, _of_patches(path)):
        try:
            if "patch_size_level0" in known:
                return _trident(known, path=path)
            if "patch_size" in known and "level_dim" in known:
                return _clam(known)
        except (TypeError, ValueError, IndexError) as error:
            raise InputError(f"{path} has attributes that cannot be read ({error}).") from error
    return _guessed(coords, path=path)


def _trident(about: Mapping[str, Any], *, path: Path) -> Layout:
    size0 = int(about["patch_size_level0"])
    power, target = (float(about.get(name, 0)) for name in ("level0_magnification", "target_magnification"))
    if power:
        warnings.warn(
            f"{path} says a magnification of {power:g} alone: its scale is taken as {_POWER / power:g} um a pixel, "
            "which is nominal.",
            OmlabWarning,
            stacklevel=5,
        )
    return Layout(
        size0=size0,
        dimensions=(int(about["level0_width"]), int(about["level0_height"])),
        size=int(about.get("patch_size", 0)),
        overlap=int(about.get("overlap", 0)),
        mpp=_POWER / power if power else None,
        target_mpp=_POWER / target if target else None,
    )


def _clam(about: Mapping[str, Any]) -> Layout:
    size = int(about["patch_size"])
    factors = np.asarray(about.get("downsample", (1.0, 1.0)), np.float64)
    width, height = (round(side * factor) for side, factor in zip(about["level_dim"], factors, strict=True))
    return Layout(size0=round(size * int(factors[0])), dimensions=(width, height), size=size)


def _of_patches(path: Path) -> Mapping[str, Any]:
    """The attributes of `patches/<slide>.h5` of the coordinates, beside the folder of features or one above."""
    for folder in (path.parent.parent, path.parent.parent.parent):
        for name in (f"{path.stem}.h5", f"{path.stem}_patches.h5"):
            near = folder / "patches" / name
            if near.is_file() and near != path:
                with opened(near) as file:
                    return dict(file["coords"].attrs) if "coords" in file else {}
    return {}


def _guessed(coords: Coords, *, path: Path) -> Layout:
    steps = [np.diff(np.unique(coords[:, axis])) for axis in (0, 1)]
    least = [int(step.min()) for step in steps if step.size]
    if not least:
        raise InputError(f"{path} does not say how large its patch is, and one alone does not tell.")
    size0 = min(least)
    right, bottom = (int(side) + size0 for side in coords.max(axis=0))
    warnings.warn(
        f"{path} says neither how large patches are nor the slide: {size0} pixels, the least distance between them, "
        f"and {right} x {bottom}, as far as they go, are taken; its patches/{path.stem}.h5 beside it would tell.",
        OmlabWarning,
        stacklevel=5,
    )
    return Layout(size0=size0, dimensions=(right, bottom))


def _dataset(file: Any, name: str, path: Path) -> Any:
    import h5py

    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{path} has no '{name}': it has {', '.join(file) or 'nothing'}.")
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

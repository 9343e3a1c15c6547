"""A folder of TIFF slices, or a TIFF of many pages (BigTIFF, ImageJ, OME-TIFF), read by region.

    brain = TiffStack().read(Path("brain/"), kind="big-volume", spacing=[4.06, 4.06, 3.0])

Slices are sorted naturally (`z9` before `z10`). Columns, rows and slices are the axes i, j, k. Of uncompressed files
only what is asked for is read. Through tifffile, an extra: `omlab-volume[big]`; LZW and JPEG need imagecodecs.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryWarning, InputError, MissingDependencyError, OmlabWarning, SettingsError, one_line
from omlab_volume.big.payloads import BigLabelMap, BigVolume
from omlab_volume.big.voxels import Region, Shape3, Shape4, Voxels
from omlab_volume.io.paths import check_file
from omlab_volume.io.quiet import quiet
from omlab_volume.io.tiff_spacing import stated_spacing
from omlab_volume.volume import Source

_SUFFIXES = (".tif", ".tiff")
_KINDS = ("uint8", "uint16", "uint32", "int16", "float32", "bool")


class TiffStack:
    """Reads big volumes and big label maps from TIFF."""

    def read(self, path: Path, *, kind: str, spacing: Sequence[float] = ()) -> BigVolume | BigLabelMap:
        """Open a folder of slices, or a file, as a `big-volume` or `big-labelmap`.

        Args:
            path: The folder or file.
            kind: Which.
            spacing: Voxel size (x, y, z) in micrometre; by default what the file says, else 1, with a warning.

        Raises:
            InputError: It cannot be read, or slices do not fit together; names the file.
            SettingsError: `spacing` is no voxel size.
            MissingDependencyError: tifffile is not installed.
        """
        if kind not in ("big-volume", "big-labelmap"):
            raise InputError(f"{path}: TIFF holds a big-volume or a big-labelmap, not a '{kind}'.")
        given = _micrometres(spacing)
        if path.is_dir():
            files = slices_in(path)
            voxels: Voxels = _slices(files, folder=path)
        else:
            check_file(path)
            files = [path]
            voxels = _pages(path)
        affine = np.diag([*(n / 1000 for n in given or _stated(files, path=path)), 1.0])
        source = Source(format="tiff-stack", paths=tuple(files), folder=path if path.is_dir() else None)
        if kind == "big-volume":
            return BigVolume(voxels=voxels, affine=affine, source=source)
        if voxels.shape[0] != 1 or voxels.dtype.kind != "u":
            raise InputError(
                f"{path} holds {voxels.shape[0]} channels of {voxels.dtype}: a label map has one, of unsigned integers."
            )
        return BigLabelMap(voxels=voxels, affine=affine, source=source)


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceVoxels:
    """A file for each slice, all of `plane` (rows, columns) voxels of one type."""

    files: Sequence[Path]
    plane: tuple[int, int]
    dtype: np.dtype[Any]

    @property
    def shape(self) -> Shape4:
        """(1, I, J, K)."""
        return 1, self.plane[1], self.plane[0], len(self.files)

    @property
    def chunks(self) -> Shape3:
        """A slice."""
        return self.plane[1], self.plane[0], 1

    def read(self, region: Region) -> NDArray[Any]:
        """The voxels (1, i, j, k) of a region. Raises `InputError` where a slice is damaged or of another size."""
        i, j, k = region
        result = np.empty((1, k.stop - k.start, j.stop - j.start, i.stop - i.start), self.dtype)
        for goal, path in zip(result[0], self.files[k], strict=True):
            with _opened(path) as tif:
                page = _only_page(tif, path=path)
                if page.shape != self.plane or np.dtype(page.dtype) != _stored(self.dtype, page.dtype):
                    raise InputError(
                        f"{path} has {page.shape[1]} x {page.shape[0]} voxels of {page.dtype}, but the first slice has "
                        f"{self.plane[1]} x {self.plane[0]} of {self.dtype}: slices of one stack are alike."
                    )
                goal[:] = _page_array(tif, page, path)[j, i]
        return result.transpose(0, 3, 2, 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class PageVoxels:
    """One file: `lead` are the sizes and `names` the letters (C, Z) of the axes before rows and columns."""

    path: Path
    names: str
    lead: tuple[int, ...]
    plane: tuple[int, int]
    dtype: np.dtype[Any]
    offset: int | None = field(default=None)

    @property
    def shape(self) -> Shape4:
        """(C, I, J, K)."""
        sizes = dict(zip(self.names, self.lead, strict=True))
        return sizes.get("C", 1), self.plane[1], self.plane[0], sizes.get("Z", 1)

    @property
    def chunks(self) -> Shape3:
        """A slice."""
        return self.plane[1], self.plane[0], 1

    def read(self, region: Region) -> NDArray[Any]:
        """The voxels (C, i, j, k) of a region. Raises `InputError` where the file is damaged."""
        i, j, k = region
        channels = self.shape[0]
        result = np.empty((channels, k.stop - k.start, j.stop - j.start, i.stop - i.start), self.dtype)
        with _opened(self.path) as tif:
            series = tif.series[0]
            mapped = _mapped(tif, series, self.path)
            for c in range(channels):
                for at, goal in zip(range(k.start, k.stop), result[c], strict=True):
                    place = tuple({"C": c, "Z": at}[name] for name in self.names)
                    if mapped is not None:
                        goal[:] = mapped.reshape(*self.lead, *self.plane)[place][j, i]
                    else:
                        number = int(np.ravel_multi_index(place, self.lead)) if self.lead else 0
                        goal[:] = _page_array(tif, series.pages[number], self.path)[j, i]
        return result.transpose(0, 3, 2, 1)


def slices_in(folder: Path) -> list[Path]:
    """The TIFF files of a folder in the order of their numbers.

    Warns where numbers are left out. Raises `InputError` where there are none or they may not be read.
    """
    try:
        names = [child for child in folder.iterdir() if child.suffix.lower() in _SUFFIXES and child.name[0] != "."]
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}.") from error
    if not names:
        raise InputError(f"{folder} holds no TIFF slices (.tif, .tiff): name the folder that has them.")
    files = sorted(names, key=lambda path: natural_key(path.name))
    numbers = [[int(n) for n in re.findall(r"\d+", path.stem)] for path in files]
    if len(files) > 2 and all(numbers) and len({len(one) for one in numbers}) == 1:
        _warn_of_gaps([one[-1] for one in numbers], folder=folder)
    return files


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A key by which `z9` comes before `z10`."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part.lower()) for part in re.split(r"(\d+)", name) if part]


def _warn_of_gaps(numbers: Sequence[int], *, folder: Path) -> None:
    steps = np.diff(numbers)
    usual = int(np.median(steps))
    if usual > 0 and (steps != usual).any():
        before = numbers[int(np.flatnonzero(steps != usual)[0])]
        what = f"{int((steps != usual).sum())} gaps in the numbers of its slices, the first after {before}"
        warnings.warn(f"{folder} has {what}; slices are taken as they follow.", OmlabWarning, stacklevel=4)


def _micrometres(spacing: Sequence[float]) -> tuple[float, ...]:
    try:
        values = tuple(float(n) for n in spacing)
    except (TypeError, ValueError):
        values = (0.0,)
    if values and (len(values) != 3 or not all(0 < n < float("inf") for n in values)):
        raise SettingsError(f"spacing is a voxel size x,y,z in micrometre, such as 4.06,4.06,3, not {spacing!r}.")
    return values


def _stated(files: Sequence[Path], *, path: Path) -> tuple[float, ...]:
    with _opened(files[0]) as tif:
        found = stated_spacing(tif, is_slice=path.is_dir())
    lacking = "".join(name for name, size in zip("xyz", found, strict=True) if size is None)
    if lacking:
        warnings.warn(
            f"{path} does not say its voxel size along {', '.join(lacking)}: taken as 1 micrometre; give it with "
            "-s read.spacing=x,y,z.",
            GeometryWarning,
            stacklevel=4,
        )
    return tuple(1.0 if size is None else size for size in found)


def _slices(files: Sequence[Path], *, folder: Path) -> SliceVoxels:
    check_file(files[0])
    with _opened(files[0]) as tif:
        page = _only_page(tif, path=files[0])
        _check_page(page, path=files[0])
        plane = (int(page.shape[0]), int(page.shape[1]))
        return SliceVoxels(files=tuple(files), plane=plane, dtype=_native(page.dtype))


def _pages(path: Path) -> PageVoxels:
    with _opened(path) as tif:
        series = tif.series[0]
        _check_page(tif.pages[0], path=path)
        lead = [
            ({"Q": "Z", "I": "Z"}.get(name, name), int(size))
            for name, size in zip(series.axes[:-2], series.shape[:-2], strict=True)
            if size > 1
        ]
        names = "".join(name for name, _ in lead)
        if series.axes[-2:] != "YX" or not set(names) <= {"C", "Z"} or len(set(names)) != len(names):
            raise InputError(
                f"{path} has the axes {series.axes} of {series.shape}: a volume has slices (Z) of rows and columns "
                "(YX), and at most channels (C) beside."
            )
        plane = (int(series.shape[-2]), int(series.shape[-1]))
        return PageVoxels(
            path=path, names=names, lead=tuple(size for _, size in lead), plane=plane, dtype=_native(series.dtype)
        )


def _only_page(tif: Any, *, path: Path) -> Any:
    if len(tif.pages) > 1:
        raise InputError(
            f"{path} has {len(tif.pages)} pages, but a folder holds one slice a file: name the file itself."
        )
    return tif.pages[0]


def _check_page(page: Any, *, path: Path) -> None:
    if len(page.shape) != 2:
        raise InputError(f"{path} is a colour image ({page.shape}): a volume has one intensity a voxel.")
    if str(np.dtype(page.dtype)) not in _KINDS:
        raise InputError(f"{path} holds values of {page.dtype}; {', '.join(_KINDS)} are read.")


def _native(dtype: Any) -> np.dtype[Any]:
    kind: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    return np.dtype(np.uint8) if kind.kind == "b" else kind


def _stored(dtype: np.dtype[Any], found: Any) -> np.dtype[Any]:
    """What a page holds that is read as `dtype`."""
    return np.dtype(found) if _native(found) == dtype else dtype


def _mapped(tif: Any, series: Any, path: Path) -> NDArray[Any] | None:
    """The voxels of a series that lies in one piece, uncompressed, mapped into memory."""
    if series.dataoffset is None:
        return None
    kind = np.dtype(series.dtype).newbyteorder(tif.byteorder)
    return _map(path, kind, series.dataoffset, tuple(series.shape))


def _page_array(tif: Any, page: Any, path: Path) -> NDArray[Any]:
    if page.is_memmappable:
        kind = np.dtype(page.dtype).newbyteorder(tif.byteorder)
        return _map(path, kind, page.dataoffsets[0], page.shape)
    found: NDArray[Any] = page.asarray()
    return found


def _map(path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> NDArray[Any]:
    needed = offset + int(np.prod(shape)) * dtype.itemsize
    if path.stat().st_size < needed:
        raise InputError(f"{path} is cut short: {path.stat().st_size:,} of {needed:,} bytes are there; copy it again.")
    return np.memmap(path, dtype, "r", offset, shape)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A TIFF file; what is wrong with it becomes an `InputError`."""
    try:
        import tifffile
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"{path} needs tifffile: install omlab-volume[big].") from error
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read by this user, or is not there: check the path and its rights.")
    try:
        with quiet(), tifffile.TiffFile(path) as tif:
            yield tif
    except InputError:
        raise
    except Exception as error:  # of the file's structure, of a codec, of the system
        text = one_line(error)
        hint = "install imagecodecs" if "imagecodecs" in text else "it is damaged, cut short or no TIFF file"
        raise InputError(f"{path} cannot be read as TIFF ({text[:200]}): {hint}.") from error

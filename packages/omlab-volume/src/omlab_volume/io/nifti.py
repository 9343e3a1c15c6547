"""NIfTI-1 and NIfTI-2 (.nii, .nii.gz), through nibabel.

    volume = Nifti().read(Path("ct.nii.gz"), kind="volume")
    Nifti().write(labelmap, Path("seg.nii.gz"))

Axes stay as they are in the file; a fourth axis becomes the channels. The affine is kept exactly, and label names
travel inside the file (see `nifti_header`).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError, OmlabWarning, OutputError, one_line
from omlab.payloads import Inputs, Payload
from omlab_volume.io import nifti_header
from omlab_volume.io.gzipped import UNREADABLE, read_gzip, write_gzip
from omlab_volume.io.paths import check_file, written
from omlab_volume.io.quiet import quiet
from omlab_volume.labels import smallest_unsigned
from omlab_volume.volume import LabelMap, Source, Volume

_nifti1: Any = nib.nifti1  # nibabel's functions are not typed
_nifti2: Any = nib.nifti2
_SUFFIXES = (".nii", ".nii.gz")
_SCANNER = 1  # what sform_code and qform_code say when the source says nothing: scanner coordinates
_UNREADABLE: tuple[type[Exception], ...] = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,
    ValueError,
    OverflowError,
    *UNREADABLE,
)
_WRITTEN_AT_ONCE = 1 << 22  # bytes of voxels put in the file's order and compressed at a time


class Nifti:
    """Reads and writes volumes and label maps as NIfTI."""

    def read(self, path: Path, *, kind: str) -> Volume | LabelMap:
        """Read `path` as a `volume` or a `labelmap`.

        A volume's array is (C, I, J, K), C the length of a fourth axis, and float32 where the header scales it. Units
        other than mm are converted. NaN and infinite values are kept and warned about. Raises `InputError` and
        `GeometryError`; warns as `nifti_header.read_affine` says.
        """
        if kind not in ("volume", "labelmap"):
            raise InputError(f"{path}: NIfTI holds a volume or a labelmap, not a '{kind}'.")
        image = opened(path)
        header = image.header
        shape = four_axes(header.get_data_shape(), path=path)
        affine = nifti_header.read_affine(header, shape=shape[:3], path=path)
        array = _voxels(image, path=path, exact=kind == "labelmap").reshape(shape, order="F")
        codes = {"sform_code": int(header["sform_code"]), "qform_code": int(header["qform_code"])}
        source = Source(format="nifti", paths=(path,), meta=codes)
        if kind == "labelmap":
            return _labelmap(array, affine, header=header, source=source)
        _warn_of_bad_values(array, path=path)
        return Volume(array=np.moveaxis(array, 3, 0), affine=affine, source=source)

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write a volume or label map; labels as uint8 or uint16 with their names. Raises `OutputError`."""
        if not path.name.lower().endswith(_SUFFIXES):
            raise OutputError(f"{path}: NIfTI files end in .nii or .nii.gz; name it so.")
        if isinstance(payload, LabelMap):
            array = smallest_unsigned(payload.array, what="the label map")
        elif isinstance(payload, Volume):
            array = _storable(payload.array[0] if payload.channels == 1 else np.moveaxis(payload.array, 0, 3))
        else:
            raise OutputError(f"{path}: NIfTI holds a volume or a labelmap, not a '{payload.kind}'.")
        with quiet():
            start = _encoded(_header(array, payload))
            with written(path), _writing(path) as file:
                file.write(start)
                _write_voxels(file, array)


def opened(path: Path) -> Any:
    """The file as nibabel's image, its voxels not read yet. Raises `InputError` where it is no scan."""
    size = check_file(path)
    _check_magic(path)
    try:
        with quiet():  # nibabel remarks on odd but harmless header fields; what matters is checked here
            image: Any = nib.load(path)
    except _UNREADABLE as error:
        raise InputError(f"{path} cannot be read as NIfTI: {one_line(error)}.") from error
    if not isinstance(image, _nifti1.Nifti1Image):
        raise InputError(f"{path} is no NIfTI file but {type(image).__name__}: convert it to NIfTI.")
    dtype = image.header.get_data_dtype()
    if dtype.names is not None:
        raise InputError(f"{path} is a colour image (RGB): a scan with one intensity a voxel is needed.")
    if dtype.kind == "c":
        raise InputError(f"{path} holds complex numbers: save their magnitude first.")
    nifti_header.check_size(image.header, offset=image.dataobj.offset, path=path, size=size)
    return image


def _check_magic(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(348)
    zipped = start[:2] == b"\x1f\x8b"
    if path.name.lower().endswith(".gz") and not zipped:
        hint = "it is an uncompressed NIfTI file: name it .nii" if _is_nifti(start) else "it is another kind of file"
        raise InputError(f"{path} is named .gz but is not compressed with gzip; {hint}.")
    if zipped and not path.name.lower().endswith(".gz"):
        raise InputError(f"{path} is compressed with gzip: name it .nii.gz.")
    if zipped:
        try:
            with read_gzip(path) as file:
                start = file.read(348)
        except _UNREADABLE as error:
            raise InputError(f"{path} is damaged or cut short: {one_line(error)}; copy it again.") from error
    if not _is_nifti(start):
        raise InputError(f"{path} is no NIfTI file: its header is another program's, or damaged.")


def _is_nifti(start: bytes) -> bool:
    return start[344:347] in (b"n+1", b"ni1") or start[4:7] in (b"n+2", b"ni2")


def four_axes(shape: tuple[int, ...], *, path: Path) -> tuple[int, int, int, int]:
    """The axes i, j, k and channels of a file. Raises `InputError` where it has fewer than two or further ones."""
    axes = tuple(int(n) for n in shape)
    if len(axes) < 2:
        raise InputError(f"{path} has one axis only, of {axes[0]} values: an image with two to four is needed.")
    while len(axes) > 4 and axes[-1] == 1:
        axes = axes[:-1]
    if len(axes) == 5 and axes[3] == 1:  # the standard's place for the components of a vector image
        axes = (*axes[:3], axes[4])
    if len(axes) > 4:
        raise InputError(f"{path} has {len(axes)} axes {axes}: only the fourth may hold channels; split the file.")
    first, second, third, fourth = (*axes, 1, 1)[:4]
    return first, second, third, fourth


def _voxels(image: Any, *, path: Path, exact: bool) -> NDArray[Any]:
    """The voxels in native byte order: scaled as the header says, in float64 where `exact`, else float32."""
    try:
        array = _stored(image, path=path)
    except MemoryError as error:
        raise InputError(f"{path} is too large for this machine's memory: shape {image.shape}.") from error
    except _UNREADABLE as error:
        raise InputError(f"{path} is damaged or cut short: {one_line(error)}; copy it again.") from error
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    if (slope, intercept) != (1.0, 0.0):
        kind = np.float64 if exact or array.dtype.itemsize == 8 else np.float32
        scaled: NDArray[Any] = array.astype(kind)
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is said by the reader
            scaled *= kind(slope)
            scaled += kind(intercept)
        return scaled
    if array.dtype.itemsize > 8:  # 128-bit floats
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _stored(image: Any, *, path: Path) -> NDArray[Any]:
    """The stored values in Fortran order.

    Read to the end of the file, since that is where gzip checks that nothing was damaged; nibabel stops before.
    """
    dtype = image.header.get_data_dtype()
    buffer: NDArray[Any] = np.empty(int(np.prod(image.shape)) * dtype.itemsize, dtype=np.uint8)
    view, filled = buffer.data, 0
    with read_gzip(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        file.seek(image.dataobj.offset)
        while filled < len(buffer):
            if not (count := file.readinto(view[filled:])):  # type: ignore[attr-defined]
                raise EOFError(f"{filled:,} of {len(buffer):,} bytes of voxels are there")
            filled += count
        while file.read(1 << 20):
            pass
    stored: NDArray[Any] = buffer.view(dtype)
    return stored.reshape(image.shape, order="F")


def _labelmap(array: NDArray[Any], affine: NDArray[np.float64], *, header: Any, source: Source) -> LabelMap:
    path = source.paths[0]
    if array.shape[3] != 1:
        raise InputError(f"{path} has {array.shape[3]} channels: a label map has one, with a number for each class.")
    values = smallest_unsigned(array[..., 0], what=str(path))
    return LabelMap(array=values, affine=affine, labels=nifti_header.read_labels(header, path=path), source=source)


def _warn_of_bad_values(array: NDArray[Any], *, path: Path) -> None:
    if array.dtype.kind == "f" and (bad := array.size - int(np.count_nonzero(np.isfinite(array)))):
        what = f"{bad:,} of {array.size:,} voxels are NaN or infinite"
        warnings.warn(f"{path}: {what}.", OmlabWarning, stacklevel=3)


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    """The array in a type that every NIfTI reader knows."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        fits = not array.size or (array.min() >= -(2**31) and array.max() < 2**31)
        return array.astype(np.int32 if fits else np.float64)
    return array


def _header(array: NDArray[Any], payload: Volume | LabelMap) -> Any:
    large = max(array.shape) > np.iinfo(np.int16).max  # NIfTI-1 counts voxels along an axis in 16 bits
    header: Any = _nifti2.Nifti2Header() if large else _nifti1.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    meta = payload.source.meta if payload.source is not None and payload.source.format == "nifti" else {}
    sform, qform = meta.get("sform_code") or _SCANNER, meta.get("qform_code") or _SCANNER
    nifti_header.set_affine(header, affine=payload.affine, sform_code=sform, qform_code=qform)
    if isinstance(payload, LabelMap):
        nifti_header.add_labels(header, labels=list(payload.labels))
    return header


def _encoded(header: Any) -> bytes:
    """The header with its extensions, as the file begins; the voxels follow."""
    header["magic"] = header.single_magic
    start = io.BytesIO()
    header.write_to(start)  # says in `vox_offset` where the voxels begin
    return start.getvalue().ljust(int(header.get_data_offset()), b"\0")


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        if not path.name.lower().endswith(".gz"):
            yield file
            return
        with write_gzip(file) as zipped:
            yield zipped


def _write_voxels(file: BinaryIO, array: NDArray[Any]) -> None:
    """Write the voxels, first axis fastest, in native byte order: the header's."""
    lines = array.T  # last axis first: in C order, the order of the file
    plane = max(1, lines[:1].nbytes)
    step = max(1, _WRITTEN_AT_ONCE // plane)
    for first in range(0, len(lines), step):
        part = np.ascontiguousarray(lines[first : first + step], dtype=array.dtype.newbyteorder("="))
        file.write(part.reshape(-1).view(np.uint8).data)

"""The pixels of DICOM frames, decoded, rescaled and freed of padding."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder

from omlab import progress
from omlab.errors import InputError, MissingDependencyError, OmlabWarning, one_line
from omlab_volume.io.dicom_files import read_dataset
from omlab_volume.io.dicom_series import Frame
from omlab_volume.io.quiet import quiet

_GREY = ("MONOCHROME1", "MONOCHROME2")
_NATIVE: dict[Any, np.dtype[Any]] = {
    (8, 0): np.dtype("u1"), (8, 1): np.dtype("i1"), (16, 0): np.dtype("<u2"), (16, 1): np.dtype("<i2"),
}  # fmt: skip
_UNSIGNED = {np.dtype(f"{kind}{size}"): np.dtype(f"u{size}") for kind in "iu" for size in (1, 2)}
_INT16 = np.iinfo(np.int16)
_HIGHEST_RATIO = 10_000  # of pixels to bytes of a compressed file: more than any scan, even an empty one, comes to


class PixelReader:
    """Gives the stored values of frames.

    Uncompressed ones are read from where they stand in the file. The others are decoded, and the last file's are kept,
    since frames of one file come together.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._array: NDArray[Any] = np.empty(0)
        self._plane = np.empty(0, np.uint8)

    def stored(self, frame: Frame) -> NDArray[Any]:
        """The stored values (J, I), until the next call.

        Raises `InputError` and `MissingDependencyError` that name the file.
        """
        if (kind := _native_type(frame)) is not None:
            return self._read(frame, kind)
        if frame.path != self._path:
            self._array = _decode(frame.path)
            self._path = frame.path
        array = self._array[frame.index] if self._array.ndim == 3 else self._array
        if array.shape != frame.shape[::-1]:
            raise InputError(f"{frame.path} has pixels of shape {array.shape}, not {frame.shape[::-1]}.")
        return array

    def _read(self, frame: Frame, kind: np.dtype[Any]) -> NDArray[Any]:
        assert frame.file.pixels is not None
        width, height = frame.shape
        size = width * height * kind.itemsize
        if len(self._plane) != size:
            self._plane = np.empty(size, np.uint8)
        with frame.path.open("rb", buffering=0) as file:
            file.seek(frame.file.pixels[frame.index * size])
            if file.readinto(self._plane.data) != size:
                raise InputError(f"{frame.path} became shorter while it was read: export it again.")
        plane: NDArray[Any] = self._plane.view(kind).reshape(height, width)
        if spare := 8 * kind.itemsize - int(frame.file.header.BitsStored):
            plane <<= spare  # bits above those stored may hold anything (PS3.5, 8.1.1)
            plane >>= spare
        return plane.astype(kind.newbyteorder("="), copy=False)


def _native_type(frame: Frame) -> np.dtype[Any] | None:
    """The type of pixels that stand in the file as they are; None where a decoder must look at them."""
    header, pixels = frame.file.header, frame.file.pixels
    if pixels is None or header.get("PhotometricInterpretation") not in _GREY:
        return None
    bits, stored = header.get("BitsAllocated"), header.get("BitsStored")
    kind = _NATIVE.get((bits, header.get("PixelRepresentation")))
    if kind is None or not 0 < (stored or 0) <= bits:
        return None
    size = frame.shape[0] * frame.shape[1] * kind.itemsize * int(header.get("NumberOfFrames") or 1)
    return kind if size <= len(pixels) <= size + 1 else None  # 1: to an even length


def _decode(path: Path) -> NDArray[Any]:
    try:
        with quiet():
            dataset = read_dataset(path)
            _check_decoder(dataset, path=path)
            array: NDArray[Any] = dataset.pixel_array
    except (MissingDependencyError, InputError):
        raise
    except Exception as error:  # a damaged file makes the decoders fail in as many ways as there are damages
        raise InputError(f"{path}: its pixels cannot be read ({one_line(error)}); export the file again.") from error
    return array


def _check_decoder(dataset: Dataset, *, path: Path) -> None:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_compressed or not syntax.is_encapsulated:
        return
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(
            f"{path} is compressed as {syntax.name}, which is no still image that can be decoded: "
            f"export the series uncompressed."
        ) from error
    if not decoder.is_available:
        raise MissingDependencyError(
            f"{path} is compressed as {syntax.name}: install omlab-volume[compressed] to read it."
        )


def check_size(header: Dataset, *, path: Path) -> None:
    """Raise `InputError` where the file cannot hold the pixels that its header announces.

    Asked before memory is allocated, so that a damaged header cannot take all of it.
    """
    frames = int(header.get("NumberOfFrames") or 1)
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    samples, bits = int(header.get("SamplesPerPixel") or 1), int(header.get("BitsAllocated") or 16)
    wanted = frames * rows * columns * samples * bits // 8
    size = path.stat().st_size
    syntax = header.file_meta.get("TransferSyntaxUID")
    ratio = _HIGHEST_RATIO if syntax is not None and syntax.is_compressed else 1
    if wanted > size * ratio:
        raise InputError(
            f"{path} is damaged or cut short: its header announces {frames} x {rows} x {columns} pixels "
            f"({wanted:,} bytes), which a file of {size:,} bytes cannot hold; export it again."
        )


def read_values(frames: Sequence[Frame], *, folder: Path) -> NDArray[Any]:
    """The rescaled values (N, J, I): int16 where they all fit, else float32.

    Slope and intercept are each slice's own. Voxels with the padding value (outside the scanner's field of view) get
    the least measured value, with an `OmlabWarning` where that changes them.
    """
    for file in {frame.path: frame.file for frame in frames}.values():
        check_size(file.header, path=file.path)
    width, height = frames[0].shape
    values = _Values(len(frames), height, width, whole=_are_whole(frames), folder=folder)
    reader = PixelReader()
    with progress.bar("DICOM slices", total=len(frames)) as advance:
        for index, frame in enumerate(frames):
            values.put(index, reader.stored(frame), frame)
            advance()
    return values.filled()


def _are_whole(frames: Sequence[Frame]) -> bool:
    if any(int(frame.file.header.get("BitsAllocated") or 16) > 16 for frame in frames):  # 32 bits may be floats
        return False
    return all(_is_whole(frame.slope) and _is_whole(frame.intercept) for frame in frames)


class _Values:
    """The rescaled slices as they come in: int16 until one does not fit, float32 from then on."""

    def __init__(self, count: int, height: int, width: int, *, whole: bool, folder: Path) -> None:
        self.folder = folder
        try:
            self.array: NDArray[Any] = np.empty((count, height, width), np.int16 if whole else np.float32)
        except MemoryError as error:
            raise InputError(
                f"{folder} is too large for this machine's memory: {count} slices of {width} x {height} pixels."
            ) from error
        self.whole = whole
        # where it is, its own values, and how often each occurs
        self.padding: dict[int, tuple[NDArray[np.bool_], NDArray[Any], NDArray[np.intp]]] = {}
        self.least: Any = None

    def put(self, index: int, stored: NDArray[Any], frame: Frame) -> None:
        """Keep a slice; what its padding becomes is settled by `filled`."""
        slope, intercept = (1.0 if frame.slope is None else frame.slope), (frame.intercept or 0.0)
        bounds = _padding(frame.file.header)
        mask = None if bounds is None else _within(stored, bounds)
        ends: tuple[Any, Any] | None = (stored.min(), stored.max())
        if bounds is not None and mask is not None and mask.any():
            found, times = _counted(stored, mask, bounds)
            self.padding[index] = mask, self._rescaled(found, slope, intercept), times
            ends = None if mask.all() else _ends_without(stored, mask, bounds)
        if ends is None:
            return
        low, high = sorted(self._rescaled(np.array(ends), slope, intercept).tolist())
        self.least = low if self.least is None else min(self.least, low)
        if self.array.dtype == np.int16 and not _INT16.min <= low <= high <= _INT16.max:
            self.array = self.array.astype(np.float32)
        if self.array.dtype == np.int16:
            _rescale_whole(stored, int(slope), int(intercept), out=self.array[index])
        else:
            self.array[index] = self._rescaled(stored, slope, intercept)

    def _rescaled(self, stored: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
        kind = np.int32 if self.whole else np.float32
        scaled: NDArray[Any] = stored.astype(kind)
        scaled *= kind(slope)
        scaled += kind(intercept)
        return scaled

    def filled(self) -> NDArray[Any]:
        """All slices, padding with the least measured value of them all; says how many voxels that changed."""
        if not self.padding:
            return self.array
        if self.least is None:
            raise InputError(f"{self.folder} holds padding only: every voxel has the PixelPaddingValue.")
        changed = 0
        for index, (mask, found, times) in self.padding.items():
            changed += int(times[found != self.least].sum())
            np.copyto(self.array[index], self.least, where=mask, casting="unsafe")
        if changed:
            what = f"{changed:,} voxels outside the field of view (PixelPaddingValue) were set to the least measured"
            warnings.warn(f"{self.folder}: {what} value, {self.least:g}.", OmlabWarning, stacklevel=4)
        return self.array


def _within(stored: NDArray[Any], bounds: tuple[int, int]) -> NDArray[np.bool_]:
    low, high = bounds
    return np.asarray(stored == low if low == high else (stored >= low) & (stored <= high))


def _ends_without(stored: NDArray[Any], mask: NDArray[np.bool_], bounds: tuple[int, int]) -> tuple[Any, Any]:
    """The least and the highest stored value outside `mask`: those within `bounds`."""
    if stored.dtype in _UNSIGNED and stored.min() >= bounds[0] and stored.max() > bounds[1]:
        # Padding below all else: counted from just above it, modulo the type's range, it comes last.
        unsigned = _UNSIGNED[stored.dtype]
        above = stored.view(unsigned) - np.array(bounds[1] + 1).astype(unsigned)
        return bounds[1] + 1 + int(above.min()), stored.max()
    limits = np.iinfo(stored.dtype) if stored.dtype.kind in "iu" else np.finfo(stored.dtype)
    return np.where(mask, limits.max, stored).min(), np.where(mask, limits.min, stored).max()


def _counted(
    stored: NDArray[Any], mask: NDArray[np.bool_], bounds: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Which values the padding has, and how often each occurs."""
    if bounds[0] == bounds[1]:
        return np.array(bounds[:1]), np.array([np.count_nonzero(mask)])
    return np.unique(stored[mask], return_counts=True)


def _rescale_whole(stored: NDArray[Any], slope: int, intercept: int, *, out: NDArray[np.int16]) -> None:
    """The values x slope + intercept, which fit `out`: overflow on the way wraps around and comes back."""
    plane = stored.view(np.int16) if stored.dtype.itemsize == 2 else stored.astype(np.int16)
    if slope != 1:
        plane = plane * np.int16(slope)
    np.add(plane, np.int16(intercept), out=out)


def _is_whole(number: float | None) -> bool:
    return number is None or (float(number).is_integer() and abs(number) < 2**15)


def _padding(header: Dataset) -> tuple[int, int] | None:
    """The lowest and highest stored value that is padding."""
    value, limit = header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    bounds = [value, limit if isinstance(limit, int) else value]
    if header.get("PixelRepresentation") == 1:  # some write the signed number as an unsigned one
        bounds = [bound - 65536 if bound > 32767 else bound for bound in bounds]
    low, high = sorted(bounds)
    return low, high

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
from omlab.errors import InputError, MissingDependencyError, OmlabWarning
from omlab_volume.io.dicom_files import read_dataset
from omlab_volume.io.dicom_series import Frame
from omlab_volume.io.quiet import quiet

_HIGHEST_RATIO = 10_000  # of pixels to bytes of a compressed file: more than any scan, even an empty one, comes to


class PixelReader:
    """Gives the stored values of frames; keeps the last file's, since frames of one file come together."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._array: NDArray[Any] = np.empty(0)

    def stored(self, frame: Frame) -> NDArray[Any]:
        """The stored values (J, I). Raises `InputError` and `MissingDependencyError` that name the file."""
        if frame.path != self._path:
            self._array = _decode(frame.path)
            self._path = frame.path
        array = self._array[frame.index] if self._array.ndim == 3 else self._array
        if array.shape != frame.shape[::-1]:
            raise InputError(f"{frame.path} has pixels of shape {array.shape}, not {frame.shape[::-1]}.")
        return array


def _decode(path: Path) -> NDArray[Any]:
    try:
        with quiet():
            dataset = read_dataset(path)
            _check_decoder(dataset, path=path)
            array: NDArray[Any] = dataset.pixel_array
    except (MissingDependencyError, InputError):
        raise
    except Exception as error:  # a damaged file makes the decoders fail in as many ways as there are damages
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: its pixels cannot be read ({reason}); export the file again.") from error
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
    floats = any(int(frame.file.header.get("BitsAllocated") or 16) > 16 for frame in frames)  # 32 bits may be floats
    whole = not floats and all(_is_whole(frame.slope) and _is_whole(frame.intercept) for frame in frames)
    for file in {frame.path: frame.file for frame in frames}.values():
        check_size(file.header, path=file.path)
    width, height = frames[0].shape
    try:
        values = np.empty((len(frames), height, width), dtype=np.int32 if whole else np.float32)
    except MemoryError as error:
        raise InputError(
            f"{folder} is too large for this machine's memory: {len(frames)} slices of {width} x {height} pixels."
        ) from error
    padded: dict[int, NDArray[np.bool_]] = {}
    reader = PixelReader()
    with progress.bar("DICOM slices", total=len(frames)) as advance:
        for index, frame in enumerate(frames):
            stored = reader.stored(frame)
            slope, intercept = np.array([_or(frame.slope, 1.0), _or(frame.intercept, 0.0)]).astype(values.dtype)
            values[index] = stored.astype(values.dtype) * slope + intercept
            mask = _padding(frame.file.header, stored)
            if mask is not None and mask.any():
                padded[index] = mask
            advance()
    _fill_padding(values, padded, folder=folder)
    if whole and values.min() >= np.iinfo(np.int16).min and values.max() <= np.iinfo(np.int16).max:
        return values.astype(np.int16)
    return values.astype(np.float32, copy=False)


def _or(number: float | None, default: float) -> float:
    return default if number is None else number


def _is_whole(number: float | None) -> bool:
    return number is None or (float(number).is_integer() and abs(number) < 2**15)


def _padding(header: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    value, limit = header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    bounds = [value, limit if isinstance(limit, int) else value]
    if header.get("PixelRepresentation") == 1:  # some write the signed number as an unsigned one
        bounds = [bound - 65536 if bound > 32767 else bound for bound in bounds]
    low, high = sorted(bounds)
    return np.asarray((stored >= low) & (stored <= high))


def _fill_padding(values: NDArray[Any], padded: dict[int, NDArray[np.bool_]], *, folder: Path) -> None:
    if not padded:
        return
    least: Any = None
    for index, plane in enumerate(values):
        measured = plane[~padded[index]] if index in padded else plane
        if measured.size:
            least = measured.min() if least is None else min(least, measured.min())
    if least is None:
        raise InputError(f"{folder} holds padding only: every voxel has the PixelPaddingValue.")
    changed = 0
    for index, mask in padded.items():
        changed += int(np.count_nonzero(values[index][mask] != least))
        values[index][mask] = least
    if changed:
        what = f"{changed:,} voxels outside the field of view (PixelPaddingValue) were set to the least measured value"
        warnings.warn(f"{folder}: {what}, {least:g}.", OmlabWarning, stacklevel=4)

"""The format `dicom-image`: DICOM files of one frame as images, through pydicom.

    image = DicomImage().read(Path("chest.dcm"), kind="image", window=[])

Grey values go the way that a viewer takes (DICOM PS3.4 N.2): rescaled, windowed by the file's own window or table, and
inverted where low values are white (MONOCHROME1). Colours become RGB of 8 bits. What is padding is black.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from omlab.errors import InputError, MissingDependencyError, OmlabError, OmlabWarning, SettingsError, one_line
from omlab_image.image import Image, Source, Spacing
from omlab_image.io.dicom_values import colours, eight_bits, grey
from omlab_image.io.picture import MOST_PIXELS
from omlab_image.io.quiet import quiet

_HIGHEST_RATIO = 10_000  # of pixels to bytes of a compressed file: more than any picture comes to
_CENTIMETRES = 3  # as a unit of ultrasound regions
_META = ("SOPClassUID", "SOPInstanceUID", "Modality", "PhotometricInterpretation", "BodyPartExamined", "ViewPosition")


class DicomImage:
    """Reads DICOM files of one frame."""

    def read(self, path: Path, *, kind: str, window: Sequence[float] = ()) -> Image:
        """Read `path` as an `image`: grey of 16 bits (of 8 where the file has no more), or RGB.

        Args:
            path: A file.
            kind: `image`.
            window: Centre and width, in rescaled values, instead of the file's own window.

        Raises:
            InputError: It is no DICOM file of one frame, or is damaged.
            SettingsError: The window is none.
            MissingDependencyError: Its compression needs another package.
        """
        if kind != Image.kind:
            raise InputError(f"{path}: a DICOM file of one frame holds an image, not a '{kind}'.")
        dataset = _dataset(path)
        _check_window(window)
        try:
            with quiet():
                _check_frame(dataset, path=path)
                pixels = pixel_array(dataset)
                photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
                if photometric == "PALETTE COLOR":
                    array, depth = eight_bits(apply_color_lut(pixels, dataset)), 8
                elif pixels.ndim == 3:
                    array, depth = colours(pixels, bits=int(dataset.BitsStored))
                else:
                    array, depth = grey(pixels, dataset, window=window, path=path)
                spacing = _spacing(dataset, path=path)
                meta = {name: str(dataset.get(name)) for name in _META if dataset.get(name) is not None}
        except OmlabError:
            raise
        except MemoryError as error:
            raise InputError(f"{path} is too large for this machine's memory.") from error
        except Exception as error:  # a damaged file makes the decoders fail in as many ways as there are damages
            raise InputError(
                f"{path}: its pixels cannot be read ({one_line(error)}); export the file again."
            ) from error
        source = Source(format="dicom-image", path=path, meta=meta)
        return Image(array=array, spacing=spacing, bit_depth=depth, source=source)


def _dataset(path: Path) -> Dataset:
    if path.is_dir():
        raise InputError(f"{path} is a folder: a series of slices is a volume, which omlab-volume reads.")
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path.")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes): copy or export it again.")
    try:
        with quiet():
            try:
                dataset = pydicom.dcmread(path)
            except InvalidDicomError:  # it may lack the preamble
                dataset = pydicom.dcmread(path, force=True)
            dataset.get("Rows"), dataset.get("NumberOfFrames")  # parsed when they are asked for
            if "TransferSyntaxUID" not in dataset.file_meta:
                is_implicit, _ = dataset.original_encoding
                dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    except Exception as error:
        raise InputError(f"{path} cannot be read as DICOM ({one_line(error)}): export it again.") from error
    if "Rows" not in dataset or "PixelData" not in dataset:
        raise InputError(f"{path} holds no picture: it is no DICOM image, or damaged.")
    return dataset


def _check_frame(dataset: Dataset, *, path: Path) -> None:
    """One frame, of a size that its file can hold, in a compression that can be read."""
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise InputError(
            f"{path} holds {frames} frames, but an image is one: omlab-video reads clips, omlab-volume volumes."
        )
    rows, columns = int(dataset.Rows), int(dataset.get("Columns") or 0)
    samples, bits = int(dataset.get("SamplesPerPixel") or 1), int(dataset.get("BitsAllocated") or 16)
    size, syntax = path.stat().st_size, dataset.file_meta.TransferSyntaxUID
    if not 0 < rows * columns <= MOST_PIXELS:
        raise InputError(f"{path} has {rows:,} x {columns:,} pixels; 1 to {MOST_PIXELS:,} are read.")
    if rows * columns * samples * bits // 8 > size * (_HIGHEST_RATIO if syntax.is_compressed else 1):
        raise InputError(
            f"{path} is damaged or cut short: its header announces {rows} x {columns} pixels, which a file of {size:,} "
            "bytes cannot hold; export it again."
        )
    if not syntax.is_compressed or not syntax.is_encapsulated:
        return
    try:
        is_available = get_decoder(syntax).is_available
    except NotImplementedError as error:
        raise InputError(f"{path} is compressed as {syntax.name}: a clip is read by omlab-video.") from error
    if not is_available:
        raise MissingDependencyError(f"{path} is compressed as {syntax.name}: install omlab-image[compressed].")


def _check_window(window: Sequence[Any]) -> None:
    try:
        numbers = [float(one) for one in window]
    except (ValueError, TypeError):
        numbers = [math.nan]
    if numbers and (len(numbers) != 2 or not all(math.isfinite(one) for one in numbers) or numbers[1] <= 0):
        raise SettingsError(f"The setting window is {list(window)}, but must be a centre and a width above 0.")


def _spacing(dataset: Dataset, *, path: Path) -> Spacing | None:
    """Of the pixels in mm: in the patient, at the detector (with a warning), or of the only region of ultrasound."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = dataset.get(name)
        if found is None or len(found) != 2 or min(float(one) for one in found) <= 0:
            continue
        if name == "ImagerPixelSpacing":
            warnings.warn(
                f"{path}: its spacing is that at the detector, where things look larger than they are.",
                OmlabWarning,
                stacklevel=3,
            )
        return float(found[0]), float(found[1])
    regions: Any = dataset.get("SequenceOfUltrasoundRegions") or ()
    if len(regions) == 1:
        region = regions[0]
        units = (region.get("PhysicalUnitsYDirection"), region.get("PhysicalUnitsXDirection"))
        row, column = (abs(float(region.get(name) or 0)) * 10 for name in ("PhysicalDeltaY", "PhysicalDeltaX"))
        if units == (_CENTIMETRES, _CENTIMETRES) and row > 0 and column > 0:
            return row, column
    return None

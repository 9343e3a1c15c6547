"""The pixels of DICOM frames as a viewer shows them (DICOM PS3.4 N.2): rescaled, windowed, inverted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut

from omlab.errors import InputError, OmlabWarning


def colours(pixels: NDArray[Any], *, bits: int) -> tuple[NDArray[Any], int]:
    """RGB of 8 bits; of more bits as they are."""
    if pixels.dtype.itemsize == 1:
        return np.ascontiguousarray(pixels), bits if bits < 8 else 8
    return np.ascontiguousarray(pixels.astype(np.uint16)), bits


def eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Colours of a palette as 8 bits."""
    return np.ascontiguousarray(pixels if pixels.dtype == np.uint8 else pixels >> 8).astype(np.uint8)


def grey(pixels: NDArray[Any], dataset: Dataset, *, window: Sequence[float], path: Path) -> tuple[NDArray[Any], int]:
    """What a viewer shows, as 16 bits; 8 bits that nothing is to be done to as they are."""
    is_inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    padding = _padding(dataset, pixels)
    table = dataset.get("VOILUTSequence")
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    is_to_be_done = bool(window or table or width is not None or padding is not None or _is_rescaled(dataset))
    if not is_to_be_done and pixels.dtype == np.uint8 and dataset.BitsStored == 8:
        return (255 - pixels if is_inverted else pixels).astype(np.uint8), 8
    values = np.asarray(apply_modality_lut(pixels, dataset), np.float64)
    if window:
        shown = _windowed(values, centre=float(window[0]), width=float(window[1]), function="LINEAR_EXACT")
    elif table:
        shown = _looked_up(values, table[0])
    elif centre is not None and width is not None:
        shown = _windowed(values, centre=centre, width=width, function=str(dataset.get("VOILUTFunction") or "LINEAR"))
    else:
        low, high = _ends(values if padding is None else values[~padding], path=path)
        shown = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    if is_inverted:
        shown = 1 - shown
    if padding is not None:
        shown[padding] = 0
    return np.rint(65535 * shown).astype(np.uint16), 16


def _windowed(values: NDArray[np.float64], *, centre: float, width: float, function: str) -> NDArray[np.float64]:
    """From 0 to 1 by a window (DICOM PS3.3 C.11.2.1)."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / max(width, 1e-9), -700, 700))))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    return np.asarray(np.clip((values - centre) / max(width, 1e-9) + 0.5, 0, 1))


def _looked_up(values: NDArray[np.float64], table: Dataset) -> NDArray[np.float64]:
    """From 0 to 1 by a table: its first entry stands for `first` and all below, its last for all above."""
    count, first, bits = (int(one) for one in table.LUTDescriptor)
    entries = table.LUTData
    if isinstance(entries, bytes):
        entries = np.frombuffer(entries, "<u2")
    entries = np.asarray(entries, np.float64)[: count or 65536]
    places = np.clip(np.rint(values - first), 0, len(entries) - 1).astype(np.int64)
    return np.asarray(np.clip(entries[places] / (2**bits - 1), 0, 1))


def _ends(known: NDArray[np.float64], *, path: Path) -> tuple[float, float]:
    """The least and the greatest value, where the file does not say what is to be shown."""
    if not known.size:
        raise InputError(f"{path} holds padding only: every pixel has the PixelPaddingValue.")
    low, high = float(known.min()), float(known.max())
    warnings.warn(
        f"{path} says no window: its values from {low:g} to {high:g} are taken from black to white.",
        OmlabWarning,
        stacklevel=4,
    )
    return low, high


def _is_rescaled(dataset: Dataset) -> bool:
    if "ModalityLUTSequence" in dataset:
        return True
    return (_first(dataset.get("RescaleSlope")) or 1.0, _first(dataset.get("RescaleIntercept")) or 0.0) != (1.0, 0.0)


def _padding(dataset: Dataset, pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Pixels outside the field of view, where the file says which."""
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    found: NDArray[np.bool_] = (pixels >= low) & (pixels <= high)
    return found if found.any() else None


def _first(value: Any) -> float | None:
    """A number, or the first of several."""
    if value is None or value == "":
        return None
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        return float(several[0])
    except (ValueError, TypeError, IndexError):
        return None

"""DICOM series of CT, MR and other scans, through pydicom.

    volume = Dicom().read(Path("series_folder"), kind="volume")

A series becomes one volume on a regular grid: i along the rows of the slices, j along their columns, k along their
normal. See `dicom_files` for what is taken, `dicom_series` for the order, `slice_stack` for what is resampled.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from omlab.errors import GeometryError, GeometryWarning, InputError, OmlabWarning
from omlab_volume.geometry import swap_lps_ras
from omlab_volume.io.dicom_files import find_series, parsing
from omlab_volume.io.dicom_pixels import PixelReader, read_values
from omlab_volume.io.dicom_series import Frame, difference, frames_of, sort_by_position, stack_of
from omlab_volume.io.slice_stack import SliceStack, regular_grid, resample
from omlab_volume.volume import Intensity, Source, Volume

_WIDEST_GAP = 10  # slice distances that are still filled from both sides
_WIDEST_SHIFT = 3  # widths of a slice that slices may lie beside each other
_GAP = 1.5  # slice distances from which on something is missing between two slices
_MOST_LISTED = 4


class Dicom:
    """Reads a DICOM series as a volume."""

    def read(self, path: Path, *, kind: str, series: str = "") -> Volume:
        """Read the series in the folder `path`, or the slices in the file `path`, as a volume of one channel.

        Values are rescaled slice by slice; CT becomes `hu`, MR `mr`, anything else `unknown`. A gantry tilt, missing
        slices and changing spacing are resampled to a regular grid with a `GeometryWarning`. `series` chooses one of
        several by its UID, the end of it, or its number. `Source.paths` are the files in slice order; `Source.meta`
        has `series_uid`, `study_uid`, `frame_of_reference_uid`, `modality` and `resampled`.

        Raises `InputError`, `GeometryError` and `MissingDependencyError`, naming the file.
        """
        if kind != "volume":
            raise InputError(f"{path}: a DICOM series holds a volume, not a '{kind}'; a label map comes as DICOM-SEG.")
        with parsing(path):
            return _read_series(path, series=series)


def _read_series(path: Path, *, series: str) -> Volume:
    frames = frames_of(find_series(path, series=series))
    if len(frames) == 1 and not path.is_dir() and _has_company(path):
        warnings.warn(
            f"{path} is one slice and read as a volume of one: for a whole series give its folder, {path.parent}.",
            OmlabWarning,
            stacklevel=3,
        )
    frames = _one_at_each_position(sort_by_position(frames, folder=path), folder=path)
    values = read_values(frames, folder=path)
    stack = stack_of(frames)
    resampled = not (stack.is_even and stack.is_straight)
    affine = stack.affine()
    if resampled:
        grid = regular_grid(stack)
        _check_gaps(stack, frames, step=grid.step, folder=path)
        _check_shifts(stack, frames, folder=path)
        warnings.warn(f"{path}: {_what_was_done(stack, frames)}.", GeometryWarning, stacklevel=3)
        values = resample(stack, values.astype(np.float32), grid=grid, fill=float(values.min()))
        affine = grid.affine
    return Volume(
        array=values.transpose(2, 1, 0)[None],
        affine=swap_lps_ras(affine),
        intensity=_intensity(frames, path=path),
        source=_source(frames, resampled=resampled, folder=path if path.is_dir() else None),
    )


def _one_at_each_position(places: Sequence[Sequence[Frame]], *, folder: Path) -> list[Frame]:
    """One frame a position: copies are dropped with a warning, different images are refused."""
    reader, dropped = PixelReader(), 0
    for place in places:
        kept = place[0]
        pixels = reader.stored(kept).copy() if len(place) > 1 else None
        for other in place[1:]:
            same_place = np.abs(other.position - kept.position).max() < 0.01
            same_scale = (other.slope, other.intercept) == (kept.slope, kept.intercept)
            if pixels is None or not (same_place and same_scale and np.array_equal(pixels, reader.stored(other))):
                raise InputError(
                    f"{folder} holds {len(place)} different images at one position ({_named(kept)} and "
                    f"{_named(other)} differ in {difference(kept, other)}): give the slices of one phase only."
                )
            dropped += 1
    if dropped:
        warnings.warn(f"{folder}: {dropped} copies of slices were left out.", OmlabWarning, stacklevel=3)
    return [place[0] for place in places]


def _check_gaps(stack: SliceStack, frames: Sequence[Frame], *, step: float, folder: Path) -> None:
    """Refuse a gap so wide that what lies in it would be invented."""
    if len(stack.gaps) and stack.gaps.max() > _WIDEST_GAP * step:
        widest = int(stack.gaps.argmax())
        raise GeometryError(
            f"{folder} has a gap of {stack.gaps[widest]:.3g} mm between {_named(frames[widest])} and "
            f"{_named(frames[widest + 1])}, where slices are {step:.3g} mm apart: give each part alone."
        )


def _check_shifts(stack: SliceStack, frames: Sequence[Frame], *, folder: Path) -> None:
    """Refuse slices that lie so far beside each other that a grid with all of them would be mostly empty."""
    apart = np.ptp(stack.shifts, axis=0) / np.array(stack.shape)
    if apart.max() > _WIDEST_SHIFT:
        furthest = int(np.abs(stack.shifts).max(axis=1).argmax())
        raise GeometryError(
            f"{folder}: {_named(frames[0])} and {_named(frames[furthest])} lie {apart.max():.3g} slice widths beside "
            "each other: give each part alone."
        )


def _has_company(path: Path) -> bool:
    """Whether files like it lie beside a slice: those of its series, as a rule."""
    return any(other.suffix == path.suffix and other != path and other.is_file() for other in path.parent.iterdir())


def _named(frame: Frame) -> str:
    in_many = int(frame.file.header.get("NumberOfFrames") or 1) > 1
    return f"{frame.path.name} frame {frame.index + 1}" if in_many else frame.path.name


def _what_was_done(stack: SliceStack, frames: Sequence[Frame]) -> str:
    found = []
    if not stack.is_straight:
        found.append(f"gantry tilt of {stack.tilt:.1f} degrees")
    if not stack.is_even:
        found.append(f"slice spacing from {stack.gaps.min():.3g} to {stack.gaps.max():.3g} mm")
    grid = regular_grid(stack)
    size = " x ".join(str(n) for n in grid.shape)
    spacing = " x ".join(f"{n:.3g}" for n in (*stack.spacing, grid.step))
    done = f"{' and '.join(found)}: resampled linearly to a regular grid of {size} voxels of {spacing} mm"
    return done + _what_is_missing(stack, frames, step=grid.step)


def _what_is_missing(stack: SliceStack, frames: Sequence[Frame], *, step: float) -> str:
    """Between which slices others would have room: how many, and where."""
    wide = np.flatnonzero(stack.gaps > _GAP * step)
    if not wide.size:
        return ""
    count = int(np.rint(stack.gaps[wide] / step - 1).sum())
    places = [f"{_named(frames[n])} and {_named(frames[n + 1])}" for n in wide[:_MOST_LISTED]]
    more = f" and {len(wide) - _MOST_LISTED} more" if len(wide) > _MOST_LISTED else ""
    gaps, slices = _count(len(wide), "gap"), _count(count, "slice")
    return f"; {gaps} with room for {slices} filled from both sides, between {', '.join(places)}{more}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _intensity(frames: Sequence[Frame], *, path: Path) -> Intensity:
    modality = frames[0].file.header.get("Modality")
    if modality == "MR":
        return "mr"
    if modality != "CT":
        return "unknown"
    if any(frame.slope is None or frame.intercept is None for frame in frames):
        warnings.warn(
            f"{path}: a CT without rescale slope and intercept, so it may not be in HU.", OmlabWarning, stacklevel=3
        )
        return "unknown"
    in_hu = all(frame.rescale_type is None or frame.rescale_type.upper().startswith("HU") for frame in frames)
    return "hu" if in_hu else "unknown"


def _source(frames: Sequence[Frame], *, resampled: bool, folder: Path | None) -> Source:
    header = frames[0].file.header
    meta = {
        "series_uid": str(header.get("SeriesInstanceUID", "")),
        "study_uid": str(header.get("StudyInstanceUID", "")),
        "frame_of_reference_uid": str(header.get("FrameOfReferenceUID", "")),
        "modality": str(header.get("Modality", "")),
        "resampled": resampled,
    }
    paths = tuple(dict.fromkeys(frame.path for frame in frames))
    return Source(format="dicom", paths=paths, meta=meta, folder=folder)

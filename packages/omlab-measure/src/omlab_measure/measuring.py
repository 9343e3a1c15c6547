"""From a label map, and the image that it lies on, to measurements."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError, InputError, OmlabWarning, SettingsError
from omlab_measure.diameters import Line, border_ends, in_slices, longest, voxel_width
from omlab_measure.intensity import BIN_WIDTH, first_order
from omlab_measure.measurements import Measurements
from omlab_measure.regions import Mask, Region, inner_voxels, regions
from omlab_measure.shape import MM3_PER_ML, Moments, moments, sphericity, surface, volume
from omlab_measure.structures import Position, Structure
from omlab_volume.labels import Label
from omlab_volume.orientation import AxisOrder, canonical_order
from omlab_volume.volume import LabelMap, Volume

_UNITS = {"hu": "HU", "suv": "SUV"}


def measure(
    labelmap: LabelMap,
    image: Volume | None = None,
    *,
    channel: int = 1,
    unit: str = "",
    bin_width: float = BIN_WIDTH,
) -> Measurements:
    """Measure every structure of a label map.

    Args:
        labelmap: The structures.
        image: On its grid; without one there are no intensities.
        channel: The image's channel that intensities are of, from 1.
        unit: Of the image's intensities, such as `HU`; "": as the image says it, which NIfTI does not.
        bin_width: Of entropy and uniformity, in the image's unit.

    Raises:
        InputError: No voxel has a label.
        GeometryError: The image lies on another grid.
        SettingsError: There is no such channel, or a bin has no width.
    """
    if image is not None:
        _check_image(labelmap, image, channel=channel)
    if not bin_width > 0:
        raise SettingsError(f"The bin width is {bin_width:g}, but must be above 0.")
    values = None if image is None else image.array[channel - 1]
    array, affine = labelmap.array, labelmap.affine
    if abs(array.strides[0]) < abs(
        array.strides[2]
    ):  # the same voxels in the order of memory, which is many times as fast
        array, affine, values = array.T, affine[:, [2, 1, 0, 3]], None if values is None else values.T
    order = canonical_order(affine)
    names = {label.value: label for label in labelmap.labels}
    structures = []
    for region in regions(array):
        inner = inner_voxels(region.mask)
        figures, lines = _shape(region, affine=affine, order=order, inner=inner)
        if values is not None:
            figures |= _intensities(values[region.box], region.mask, inner=inner, bin_width=bin_width)
        label = names.get(region.value, Label(value=region.value, name=f"label {region.value}"))
        structures.append(
            Structure(
                value=region.value,
                name=label.name,
                figures=figures,
                lines={name: (_position(line.start), _position(line.end)) for name, line in lines.items()},
                code=None if label.code is None else (label.code.value, label.code.scheme, label.code.meaning),
                touches_edge=region.touches_edge,
            )
        )
    if not structures:
        raise InputError(f"{labelmap.name or 'The label map'} has no label in any voxel: there is nothing to measure.")
    return Measurements(
        structures=structures,
        labelmap=labelmap.name or "",
        image="" if image is None else image.name or "",
        intensity_unit="" if image is None else unit or _UNITS.get(image.intensity, ""),
        bin_width=float(bin_width),
    )


def _check_image(labelmap: LabelMap, image: Volume, *, channel: int) -> None:
    if not labelmap.same_grid(image):
        names = [one.name or what for one, what in ((labelmap, "The label map"), (image, "the image"))]
        sizes = [" x ".join(map(str, one.grid.shape)) for one in (labelmap, image)]
        raise GeometryError(
            f"{names[0]} ({sizes[0]} voxels) does not lie on the grid of {names[1]} ({sizes[1]}): "
            "give the image that it was made from."
        )
    if not 1 <= channel <= image.channels:
        raise SettingsError(f"{image.name or 'The image'} has {image.channels} channels: there is none {channel}.")


def _shape(
    region: Region, *, affine: NDArray[np.float64], order: AxisOrder, inner: Mask
) -> tuple[dict[str, float | None], dict[str, Line]]:
    axes = affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    size = volume(region, axes=axes, inner=inner)
    area, inside = surface(region.mask, axes=axes)
    place = moments(region, affine=affine)
    ends = border_ends(region)
    lines = {"diameter_3d": longest(ends, affine=affine)}
    lines["long_axis"], lines["short_axis"] = in_slices(ends, affine=affine, normal=order.axes[2])
    extents = [region.mask.shape[axis] * float(spacing[axis]) for axis in order.axes]
    figures: dict[str, float | None] = {
        "voxels": int(np.count_nonzero(region.mask)),
        "volume_ml": size.value,
        "volume_low_ml": size.low,
        "volume_high_ml": size.high,
        "mesh_volume_ml": inside / MM3_PER_ML,
        "surface_area_mm2": area,
        "surface_to_volume_per_mm": area / inside,
        "sphericity": sphericity(area, inside),
        **dict(zip(("extent_rl_mm", "extent_ap_mm", "extent_is_mm"), extents, strict=True)),
    }
    for name, line in lines.items():
        open_ends = voxel_width(line, axes=axes)
        figures |= {
            f"{name}_mm": line.length,
            f"{name}_low_mm": max(line.length - open_ends, 0.0),
            f"{name}_high_mm": line.length + open_ends,
        }
    return figures | _axes(place), lines


def _axes(place: Moments) -> dict[str, float | None]:
    major, minor, least = (float(length) for length in place.lengths)
    centroid = dict(zip(("centroid_r_mm", "centroid_a_mm", "centroid_s_mm"), map(float, place.centroid), strict=True))
    return {
        "major_axis_mm": major,
        "minor_axis_mm": minor,
        "least_axis_mm": least,
        "elongation": minor / major if major else None,
        "flatness": least / major if major else None,
        **centroid,
    }


def _intensities(values: NDArray[Any], mask: Mask, *, inner: Mask, bin_width: float) -> dict[str, float | None]:
    found = values[mask]
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        count = int(np.count_nonzero(~np.isfinite(found)))
        warnings.warn(
            f"{count:,} labelled voxels have no finite intensity: they are left out.", OmlabWarning, stacklevel=4
        )
    core = values[inner]
    if core.dtype.kind == "f":
        core = core[np.isfinite(core)]
    features = first_order(found, bin_width=bin_width)
    mean = features.pop("mean")
    return {"mean": mean, "mean_inner": float(core.mean(dtype=np.float64)) if core.size else None, **features}


def _position(at: NDArray[np.float64]) -> Position:
    return (float(at[0]), float(at[1]), float(at[2]))

"""What a network of the nnU-Net family wants to see: crop, spacing, intensities (and targets likewise).

Source: fact sheet of STU-Net, 2, measured on nnU-Net v1; v2 differs in the order of steps only.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError, InputError, OmlabWarning, SettingsError
from omlab_volume.inference.resample import Shape, Spacing, resample, resample_labels, resampled_shape, separate_axis
from omlab_volume.orientation import canonical_array, canonical_grid
from omlab_volume.volume import Grid, LabelMap, Volume

Normalisation = Literal["zscore", "ct", "none"]
Order = Literal["resample_first", "normalise_first"]
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

_LARGEST = np.float32(1e37)  # intensities beyond would pass float32 where they are resampled

MAX_VOXELS = 2**33
"""Voxels of a resampled image above which the plan, or the file's spacing, must be wrong."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How images are prepared for a network, all in array order (z, y, x).

    Attributes:
        spacing: target in mm; None leaves the image's own.
        patch_size: voxels of one window.
        normalisation: "zscore" by the image itself, "ct" by the four numbers below, or "none".
        percentile_low: "ct" clips to this (HU), the training set's 0.5 % percentile.
        percentile_high: and this, the 99.5 % percentile.
        mean: "ct" subtracts this,
        std: and divides by this.
        order: nnU-Net v1 resamples first, v2 normalises first.
    """

    spacing: Spacing | None
    patch_size: Shape
    normalisation: Normalisation = "zscore"
    percentile_low: float | None = None
    percentile_high: float | None = None
    mean: float | None = None
    std: float | None = None
    order: Order = "resample_first"

    def __post_init__(self) -> None:
        if self.spacing is not None and (len(self.spacing) != 3 or not min(self.spacing) > 0):
            raise SettingsError(f"A plan's spacing is three positive numbers of mm (z, y, x), not {self.spacing}.")
        if len(self.patch_size) != 3 or min(self.patch_size) < 1:
            raise SettingsError(f"A plan's patch size is three positive numbers (z, y, x), not {self.patch_size}.")
        if max(self.patch_size) == 1:
            raise SettingsError("A plan's patch size is one voxel, which leaves nothing to normalise: make it larger.")
        if self.normalisation not in get_args(Normalisation) or self.order not in get_args(Order):
            raise SettingsError(f"A plan cannot have normalisation {self.normalisation!r} and order {self.order!r}.")
        numbers = (self.percentile_low, self.percentile_high, self.mean, self.std)
        if self.normalisation == "ct" and any(number is None for number in numbers):
            raise SettingsError("A plan with normalisation 'ct' needs percentile_low, percentile_high, mean and std.")

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """The plan that `to_dict` wrote.

        Raises:
            SettingsError: an entry is unknown or missing, or has a value it cannot have.
        """
        known = {field.name for field in fields(cls)}
        unknown, missing = set(values) - known, {"spacing", "patch_size"} - set(values)
        if unknown or missing:
            raise SettingsError(f"A plan has no entry {sorted(unknown)} and needs {sorted(missing)}.")
        z, y, x = values["patch_size"]
        target: Spacing | None = None
        if values["spacing"] is not None:
            depth, height, width = values["spacing"]
            target = (float(depth), float(height), float(width))
        others = {key: value for key, value in values.items() if key not in ("spacing", "patch_size")}
        return cls(spacing=target, patch_size=(int(z), int(y), int(x)), **others)


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """An image as the network sees it, and the way back.

    Attributes:
        array: (C, Z, Y, X) float32, resampled and normalised.
        box: (start, stop) of the crop along z, y, x of the canonical image.
        cropped_shape: (Z, Y, X) of the crop before resampling: where predictions go back to.
        spacing: of the canonical image, (z, y, x) in mm.
        separate: the axis (0 to 2) resampled apart, or None.
        source: the grid of the image as it came.
        canonical: that grid along the closest RAS+ axes, (i, j, k) = (x, y, z).
    """

    array: NDArray[np.float32]
    box: Box
    cropped_shape: Shape
    spacing: Spacing
    separate: int | None
    source: Grid
    canonical: Grid

    @property
    def shape(self) -> Shape:
        """(Z, Y, X) of the prepared array."""
        z, y, x = self.array.shape[1:]
        return z, y, x

    @property
    def crop(self) -> tuple[slice, slice, slice]:
        """The crop as slices of a canonical (Z, Y, X) array."""
        z, y, x = (slice(start, stop) for start, stop in self.box)
        return z, y, x


def nonzero_box(array: NDArray[Any]) -> Box:
    """The bounding box of the voxels of (C, Z, Y, X) that are not 0 in some channel; all of it if none is.

    Holes inside need no filling: they never reach beyond the box.
    """
    filled = np.logical_or.reduce([channel != 0 for channel in array])
    bounds = []
    for axis in range(3):
        used = np.flatnonzero(filled.any(axis=tuple(other for other in range(3) if other != axis)))
        bounds.append((int(used[0]), int(used[-1]) + 1) if used.size else (0, filled.shape[axis]))
    return bounds[0], bounds[1], bounds[2]


def normalise(channel: NDArray[np.float32], plan: Plan) -> NDArray[np.float32]:
    """One channel's intensities as `plan` wants them; float32, statistics in float64."""
    if plan.normalisation == "none":
        return channel
    if plan.normalisation == "ct":
        assert plan.mean is not None
        assert plan.std is not None
        result = np.clip(channel, plan.percentile_low, plan.percentile_high)
        mean, scale = plan.mean, max(plan.std, 1e-8)
    else:
        result = channel.copy()
        mean = float(channel.mean(dtype=np.float64))
        scale = float(channel.std(dtype=np.float64)) + 1e-8
    result -= np.float32(mean)
    result /= np.float32(scale)
    return result


def warn_without_contrast(volume: Volume) -> None:
    """Warn with `OmlabWarning` of channels with one value only, or none: whatever is found in them means nothing."""
    for number, channel in enumerate(volume.array, start=1):
        low, high = np.fmin.reduce(channel, axis=None), np.fmax.reduce(channel, axis=None)  # past NaN
        if low < high and (np.isfinite([low, high]).any() or np.isfinite(channel).any()):
            continue
        name = volume.name or "A volume"
        what = f"every voxel is {low:g}" if np.isfinite(low) else "no voxel has a finite value"
        where = f"{name}, channel {number}," if volume.channels > 1 else name
        warnings.warn(
            f"{where} shows nothing ({what}): what a model makes of it means nothing.", OmlabWarning, stacklevel=3
        )


def prepare(volume: Volume, plan: Plan, *, channels: int | None = None) -> Prepared:
    """Bring `volume` into the form that a network trained with `plan` expects.

    Closest RAS+ axes, array order (C, Z, Y, X), crop to what is not zero, NaN and infinities to 0, then
    resampled (order 3) and normalised in the plan's order. Warns with `OmlabWarning` of an image without contrast.

    Args:
        volume: any orientation.
        plan: the network's.
        channels: how many channels the network takes, if that is to be checked.

    Raises:
        InputError: another number of channels than `channels`, or values that are no real numbers.
        GeometryError: the resampled image would be absurdly large.
    """
    if channels is not None and volume.channels != channels:
        raise InputError(f"The model takes {channels} channel(s) and {_name(volume)} has {volume.channels}.")
    if volume.array.dtype.kind not in "fiub":
        raise InputError(f"{_name(volume)} holds {volume.array.dtype} values; real numbers are expected.")
    warn_without_contrast(volume)
    source = volume.grid
    canonical = canonical_grid(source)
    turned = canonical_array(volume.array, source).transpose(0, 3, 2, 1)
    z, y, x = canonical.spacing[::-1]
    spacing = (z, y, x)
    box = nonzero_box(turned)
    cropped = turned[(slice(None), *(slice(start, stop) for start, stop in box))]
    shape, separate = _target(cropped.shape[1:], spacing, plan, name=_name(volume))
    array = np.empty((volume.channels, *shape), np.float32)
    for index, channel in enumerate(cropped):
        with np.errstate(over="ignore"):  # what float32 cannot hold counts as infinite
            finite = np.array(channel, np.float32, order="C")
        np.nan_to_num(finite, copy=False, nan=0, posinf=0, neginf=0)
        np.clip(finite, -_LARGEST, _LARGEST, out=finite)
        if plan.order == "normalise_first":
            array[index] = resample(normalise(finite, plan), shape, separate=separate)
        else:
            array[index] = normalise(resample(finite, shape, separate=separate), plan)
    depth, height, width = cropped.shape[1:]
    return Prepared(
        array=array,
        box=box,
        cropped_shape=(depth, height, width),
        spacing=spacing,
        separate=separate,
        source=source,
        canonical=canonical,
    )


def prepare_labels(labels: LabelMap, prepared: Prepared, *, order: Literal[0, 1] = 1) -> NDArray[Any]:
    """Targets (Z, Y, X) for the prepared image: the same axes, crop and grid.

    Args:
        labels: on the grid of the image that was prepared.
        prepared: from `prepare`.
        order: 1 is nnU-Net's way, class by class (`resample_labels`); 0 takes the nearest voxel.

    Raises:
        GeometryError: `labels` lie on another grid than the image.
    """
    if not labels.grid.same(prepared.source):
        raise GeometryError(
            f"The labels ({labels.grid.shape} voxels) are not on the grid of their image "
            f"({prepared.source.shape}): shape or position differ."
        )
    cropped = canonical_array(labels.array, labels.grid).transpose(2, 1, 0)[prepared.crop]
    return np.ascontiguousarray(resample_labels(cropped, prepared.shape, order=order, separate=prepared.separate))


def _target(shape: tuple[int, ...], spacing: Spacing, plan: Plan, *, name: str) -> tuple[Shape, int | None]:
    if plan.spacing is None:
        z, y, x = shape
        return (z, y, x), None
    wanted = resampled_shape(shape, spacing=spacing, target=plan.spacing)
    if float(np.prod(np.array(wanted, float))) > MAX_VOXELS:
        raise GeometryError(
            f"{name} with spacing {tuple(round(size, 3) for size in spacing)} mm would become {wanted} voxels at "
            f"{plan.spacing} mm; check the spacing that the file gives."
        )
    return wanted, separate_axis(spacing, plan.spacing)


def _name(volume: Volume) -> str:
    return volume.name or "the volume"

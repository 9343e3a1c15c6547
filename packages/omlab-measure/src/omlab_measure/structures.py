"""What is known of one structure: figures with their units, and the ends of its diameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from omlab.errors import UsageError

INTENSITY = "intensity"
"""The unit of figures in the image's own unit: `Measurements.intensity_unit` says which."""

SHAPE: Mapping[str, str] = {
    "voxels": "",
    "volume_ml": "ml",
    "volume_low_ml": "ml",
    "volume_high_ml": "ml",
    "mesh_volume_ml": "ml",
    "surface_area_mm2": "mm2",
    "surface_to_volume_per_mm": "1/mm",
    "sphericity": "",
    "extent_rl_mm": "mm",
    "extent_ap_mm": "mm",
    "extent_is_mm": "mm",
    "diameter_3d_mm": "mm",
    "diameter_3d_low_mm": "mm",
    "diameter_3d_high_mm": "mm",
    "long_axis_mm": "mm",
    "long_axis_low_mm": "mm",
    "long_axis_high_mm": "mm",
    "short_axis_mm": "mm",
    "short_axis_low_mm": "mm",
    "short_axis_high_mm": "mm",
    "major_axis_mm": "mm",
    "minor_axis_mm": "mm",
    "least_axis_mm": "mm",
    "elongation": "",
    "flatness": "",
    "centroid_r_mm": "mm",
    "centroid_a_mm": "mm",
    "centroid_s_mm": "mm",
}
"""Figures of size and form, with their units; positions are RAS+ (`r` grows to the right)."""

INTENSITIES: Mapping[str, str] = {
    "mean": INTENSITY,
    "mean_inner": INTENSITY,
    "sd": INTENSITY,
    "minimum": INTENSITY,
    "p10": INTENSITY,
    "p25": INTENSITY,
    "median": INTENSITY,
    "p75": INTENSITY,
    "p90": INTENSITY,
    "maximum": INTENSITY,
    "interquartile_range": INTENSITY,
    "mean_absolute_deviation": INTENSITY,
    "root_mean_square": INTENSITY,
    "skewness": "",
    "kurtosis": "",
    "entropy": "bit",
    "uniformity": "",
}
"""Figures of the image's intensities, where there is an image."""

UNITS: Mapping[str, str] = {**SHAPE, **INTENSITIES}
LINES = ("diameter_3d", "long_axis", "short_axis")
"""Diameters whose ends are kept."""

Position = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One structure.

    Attributes:
        value: Of its label.
        name: Of its label.
        figures: By the names of `UNITS`; None where one is not defined.
        lines: The two ends in mm (RAS+) of diameters, by the names of `LINES`.
        code: Value, scheme and meaning of the concept, where it is known.
        touches_edge: Whether it reaches the image's edge: figures are of what the image shows.
    """

    value: int
    name: str
    figures: Mapping[str, float | None]
    lines: Mapping[str, tuple[Position, Position]] = field(default_factory=dict)
    code: tuple[str, str, str] | None = None
    touches_edge: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.figures if name not in UNITS] + [n for n in self.lines if n not in LINES]
        if unknown:
            raise UsageError(f"'{unknown[0]}' of '{self.name}' is no measurement that omlab knows.")

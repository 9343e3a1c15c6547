"""The scale of a slide, from what its file says: never made up, and what is only nominal is warned about."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from omlab.errors import OmlabWarning

MICROMETRES = (
    ("openslide.mpp-x", "openslide.mpp-y"),
    ("tiffslide.mpp-x", "tiffslide.mpp-y"),
    ("aperio.MPP", "aperio.MPP"),
)
"""Keys of micrometres a pixel along x and y, the best first."""
POWERS = ("openslide.objective-power", "tiffslide.objective-power", "aperio.AppMag")
"""Keys of the objective's magnification."""
PLAUSIBLE = (0.01, 50.0)
"""Micrometres a pixel that a slide may have: 72 pixels an inch, which files say that know nothing, are 353."""
_SQUARE = 0.02


def scale_of(properties: Mapping[str, str], *, name: str) -> float | None:
    """Micrometres a pixel at level 0; None where the file says nothing that can be believed.

    Warns where it is only nominal (10 / magnification), where pixels are not square, and of what cannot be.
    """
    for x_key, y_key in MICROMETRES:
        x, y = _number(properties, x_key), _number(properties, y_key)
        if x is None or y is None:
            continue
        mean = (x + y) / 2
        if not PLAUSIBLE[0] <= mean <= PLAUSIBLE[1]:
            _warn(f"{name} says {mean:.4g} micrometres a pixel ({x_key}), which no slide has: it is not believed.")
            continue
        if abs(x - y) > _SQUARE * mean:
            _warn(f"Pixels of {name} are not square ({x:.4g} x {y:.4g} micrometres): {mean:.4g} is taken for both.")
        return mean
    for key in POWERS:
        power = _number(properties, key)
        if power is not None:
            mpp = 10 / power
            _warn(
                f"{name} does not say its micrometres a pixel, only its magnification ({key} {power:g}): "
                f"{mpp:g} is taken, which is nominal; give mpp where you know it."
            )
            return mpp
    return None


def lacking(name: str, properties: Mapping[str, str]) -> str:
    """The sentence for a slide without a scale."""
    looked = ", ".join(dict.fromkeys([*(key for pair in MICROMETRES for key in pair), *POWERS]))
    said = [f"{key} = {properties[key]}" for pair in MICROMETRES for key in pair if key in properties]
    found = f"but for what cannot be believed ({', '.join(dict.fromkeys(said))})" if said else "none of which it has"
    return (
        f"{name} does not say how many micrometres a pixel has: looked at were {looked}, {found}; "
        "give it with -s read.mpp=0.25 (micrometres a pixel at the finest level), or in a column slide.mpp of a table."
    )


def _number(properties: Mapping[str, str], key: str) -> float | None:
    try:
        value = float(properties.get(key, ""))
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _warn(message: str) -> None:
    warnings.warn(message, OmlabWarning, stacklevel=4)

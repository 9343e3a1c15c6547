"""The gate of the kind `volume`: what is doubtful about an image, given what its model expects.

A card's `[model.does.VERB.expects.volume]`, every entry of which may be left out, or learned from training cases
(`omlab_volume.gate.learn`):

    values = "hu"                  # what the numbers are: hu, mr, suv
    spacing = [[a, b], ...]        # mm, least and most along z, y, x
    extent = [[a, b], ...]         # mm, of the image
    levels = { low = [a, b], ... } # of what is no HU: least and most of `omlab_volume.gate.look.Look.levels`
    edge_mm = [a, b]               # mm, width of edges within slices (`omlab_volume.gate.sharpness`)
    template = { ... }             # how training cases look (`omlab_volume.gate.orientation`)
    region = "trunk"               # without a template: CT of a body, perhaps with other parts

Of every image: gaps, repeated and empty slices; where a region, extent or template is given, a body that is cut off at
a side. Only the first channel is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from omlab_volume.gate.look import Look
from omlab_volume.gate.orientation import AXES, check_template, check_trunk
from omlab_volume.gate.sharpness import check_sharpness
from omlab_volume.gate.slices import check_slices, slice_axis
from omlab_volume.gate.values import Guess, describe_guess, guess_values
from omlab_volume.volume import Volume

SLACK = 0.1
"""How far outside of what training cases had a size may lie, as a part of it."""
CUT_OFF = 0.3
"""How much of the largest section through the body may lie on a side of the image."""
_OF_WHOLE_BODIES = {"region", "extent", "template"}  # a card without one may be of parts: a heart, a prostate, a cube
_WORDS = {"hu": "CT in HU", "mr": "MR", "suv": "PET in SUV"}
_SIDES = (("left", "right"), ("back", "front"))  # of x and y in RAS+


def check(volume: Volume, expected: Mapping[str, Any]) -> dict[str, Any]:
    """`doubts` about a volume, each a sentence that names it, and the values that they rest on (JSON)."""
    if not volume.array.size or volume.array.dtype.kind not in "fiub":
        return {"doubts": []}
    look = Look(volume)
    if not look.thin.min() < look.thin.max():
        return {"doubts": []}  # what shows nothing is warned about where it is prepared
    guess = guess_values(look)
    z, y, x = look.spacing
    found: dict[str, Any] = {
        "values": guess,
        "levels": {name: round(value, 4) for name, value in look.levels.items()},
        "spacing": [round(step, 4) for step in (z, y, x)],
        "extent": [round(size, 1) for size in look.extent],
    }
    doubts = _about_values(volume, look, guess, expected)
    doubts += outside("voxel size", look.spacing, expected.get("spacing"))
    doubts += outside("field of view", look.extent, expected.get("extent"))
    if expected.keys() & _OF_WHOLE_BODIES:
        doubts += _cut_off(look)
    across = slice_axis(look)
    parts = [
        check_slices(look, across),
        check_sharpness(look, across, learned=expected.get("edge_mm"), is_hu=guess == "hu"),
    ]
    if expected.get("template"):
        parts.append(check_template(look, expected["template"]))
    elif expected.get("region") == "trunk" and guess == "hu":
        parts.append(check_trunk(look))
    for more, values in parts:
        doubts += more
        found |= values
    name = volume.name or "The volume"
    return {"doubts": [f"{name}: {doubt}" for doubt in doubts], **found}


def _about_values(volume: Volume, look: Look, guess: Guess, expected: Mapping[str, Any]) -> list[str]:
    wanted = expected.get("values")
    if wanted and volume.intensity not in ("unknown", wanted):
        return [f"It says that it is {_WORDS[volume.intensity]}, but the model was made for {_WORDS[wanted]}."]
    is_hu = guess == "hu"
    if wanted is not None and is_hu != (wanted == "hu"):
        return [f"The model was made for {_WORDS[wanted]}, but its values look like {describe_guess(guess, look)}."]
    if is_hu:
        return []
    odd = []
    for name, (low, high) in expected.get("levels", {}).items():
        value, reach = look.levels[name], max(high - low, 0.25 * max(abs(low), abs(high)))
        if not low - reach <= value <= high + reach:
            odd.append(f"{name} {value:.4g} instead of {low:.4g} to {high:.4g}")
    return [f"The numbers are unlike those of the training cases: {', '.join(odd)}."] if odd else []


def outside(what: str, sizes: Sequence[float], ranges: Sequence[Sequence[float]] | None) -> list[str]:
    """A doubt about sizes in mm along z, y, x that are not in `ranges`, or none."""
    odd = [
        f"{size:.3g} mm {axis} (expected {low:.3g} to {high:.3g})"
        for axis, size, (low, high) in zip(AXES, sizes, ranges or (), strict=False)
        if not low * (1 - SLACK) <= size <= high * (1 + SLACK)
    ]
    return [f"The {what} is unusual: {', '.join(odd)}."] if odd else []


def _cut_off(look: Look) -> list[str]:
    """A doubt about a body that goes on beyond the left, right, front or back of the image."""
    sides = []
    for axis, names in ((2, _SIDES[0]), (1, _SIDES[1])):
        planes = np.moveaxis(look.bright, axis, 0)
        filled = planes.sum(axis=(1, 2))
        if len(filled) < 8:
            continue
        for at, name in ((0, names[0]), (-1, names[1])):
            if filled[at] > CUT_OFF * filled.max():
                sides.append(name)
    return [f"The body is cut off at the {' and '.join(sides)} of the image."] if sides else []

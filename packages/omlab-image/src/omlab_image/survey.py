"""What is to be known of a data set's images before training: what the trained model expects of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from omlab import progress
from omlab.payloads import Inputs, take
from omlab.roles import Case
from omlab_image.gate import has_colours
from omlab_image.image import Image

MOST_CASES = 200
"""Of more, about so many are read, spread evenly over them."""
SLACK = 2
"""By which factor another image's side may be smaller or larger than any that was seen."""


def survey(cases: Sequence[Case], name: str) -> dict[str, Any]:
    """The survey of the kind `image` (`omlab.card_schema.PayloadCard`): facts of the input `name`, as JSON.

    Returns:
        `cases`: how many were read. `expects`: of images, what `omlab_image.gate` holds others against: `side`, and
        `grey` where all were grey, or all in colour.

    Raises:
        InputError: A case cannot be read.
    """
    return surveyed(cases, lambda inputs: take(inputs, name, Image), kind="image")


def surveyed(cases: Sequence[Case], picture: Callable[[Inputs], Image], *, kind: str) -> dict[str, Any]:
    """The survey of whatever shows a picture, as `survey`: of images, or clips.

    Args:
        cases: To look at.
        picture: The image that the inputs of a case show.
        kind: Of what is surveyed.
    """
    chosen = range(0, len(cases), max(1, math.ceil(len(cases) / MOST_CASES)))
    sides, coloured = [], set()
    with progress.bar(f"surveying {kind}s", total=len(chosen)) as advance:
        for index in chosen:
            image = picture(cases[index].load().inputs)
            sides.append(min(image.shape))
            coloured.add(has_colours(image))
            advance(1)
    if not sides:
        return {"cases": 0}
    expected: dict[str, Any] = {"side": [max(1, min(sides) // SLACK), max(sides) * SLACK]}
    if len(coloured) == 1:
        expected["grey"] = not coloured.pop()
    return {"cases": len(sides), "expects": {kind: expected}}

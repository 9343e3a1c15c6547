"""What is to be known of a data set's clips before training: what the trained model expects of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omlab.payloads import Inputs, take
from omlab.roles import Case
from omlab_image.image import Image
from omlab_image.survey import surveyed
from omlab_video.clip import Clip


def survey(cases: Sequence[Case], name: str) -> dict[str, Any]:
    """The survey of the kind `clip` (`omlab.card_schema.PayloadCard`): that of images, of the frame in the middle.

    Returns:
        `cases`: how many were read. `expects`: of clips, what `omlab_video.gate` holds the frames of others against.

    Raises:
        InputError: A case cannot be read.
    """

    def middle(inputs: Inputs) -> Image:
        clip = take(inputs, name, Clip)
        return clip.picture(len(clip) // 2)

    return surveyed(cases, middle, kind="clip")

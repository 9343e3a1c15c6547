"""The gate of the kind `clip`: what is doubtful about a video before a network sees it.

A card's `[model.does.VERB.expects.clip]` says of the frames what that of an image does (`omlab_image.gate`). A few
frames, spread over the clip, are looked at: a black one at its beginning says nothing of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from omlab_image.gate import look
from omlab_image.image import Image
from omlab_video.clip import Clip

FRAMES = 5
"""Frames that are looked at, at most."""
MOST_DOUBTFUL = 0.5
"""Share of them about which something may be doubtful."""


def check(clip: Clip, expected: Mapping[str, Any]) -> dict[str, Any]:
    """`doubts` about a clip, each a sentence that names it, and what was found of its frames (JSON)."""
    indices = np.unique(np.linspace(0, len(clip) - 1, FRAMES).round().astype(int)).tolist()
    frames = clip.read(indices)
    found = [
        {"frame": index, **look(Image(array=frame), expected)} for index, frame in zip(indices, frames, strict=True)
    ]
    doubtful = [one for one in found if one["doubts"]]
    doubts = []
    if len(doubtful) > MOST_DOUBTFUL * len(found):
        first = doubtful[0]
        doubts.append(
            f"{clip.name}: {len(doubtful)} of {len(found)} frames that were looked at are doubtful, such as frame "
            f"{first['frame']}: {' '.join(first['doubts'])}"
        )
    elif len(found) > 1 and (frames == frames[0]).all():
        doubts.append(f"{clip.name}: {len(found)} frames, spread over it, are the same: it shows no movement.")
    return {"doubts": doubts, "frames": found}

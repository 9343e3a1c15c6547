"""What a volume's numbers are: HU, HU with an offset, numbers scaled to 8 bits or to 1, or something else (MR, PET).

CT knows two landmarks 1000 HU apart: air at -1000, and soft tissue (fat, water, muscle) from -150 to 150. An image so
tightly cut that it holds no air is told by its soft tissue alone.
"""

from __future__ import annotations

from typing import Literal

from omlab_volume.gate.look import Look

Guess = Literal["hu", "offset", "unit", "bytes", "other"]

AIR = (-1060.0, -880.0)
"""Of the most common dark value of a CT: air, seldom more lung than air."""
TISSUE = (-200.0, 250.0)
"""Of the median of the bright part of a CT, be it fat, muscle, or enhanced organs."""
_STEP = (800.0, 1250.0)
"""Between the two, wherever zero is."""


def guess_values(look: Look) -> Guess:
    """What the numbers of a volume are, by the numbers alone."""
    low, high = float(look.thin.min()), float(look.thin.max())
    dark, middle = look.levels["dark"], look.levels["middle"]
    if low >= -1.5 and high <= 1.5:
        return "unit"
    if low >= 0 and high <= 255:
        return "bytes"
    if AIR[0] <= dark <= AIR[1] and TISSUE[0] <= middle <= TISSUE[1]:
        return "hu"
    if _STEP[0] <= middle - dark <= _STEP[1] and abs(dark + 1000) > 100:
        return "offset"
    has_no_air = -800 < look.levels["low"] < -30 and TISSUE[0] <= middle <= TISSUE[1]
    return "hu" if has_no_air else "other"


def describe_guess(guess: Guess, look: Look) -> str:
    """What the numbers look like, as the end of 'they look like'."""
    dark, middle = look.levels["dark"], look.levels["middle"]
    if guess == "offset":
        return (
            f"CT with an offset of {dark + 1000:+.0f} (air at {dark:.0f}, tissue at {middle:.0f}), or another modality"
        )
    return {
        "hu": "CT in HU (air at -1000, soft tissue about 0)",
        "unit": "numbers scaled to 1",
        "bytes": "numbers scaled to 0..255",
        "other": f"MR or another modality (background at {dark:.4g}, bright parts about {middle:.4g})",
    }[guess]

"""What may be wrong with a slide: ink of pens, blur, folds, coloured glass; and patches that are blank.

Flags are for looking, not for leaving slides out: thresholds are set so that they rather miss something, on one H&E
slide and drawn ones. Whoever needs an artefact model gives it as a tissue finder (`omlab_slide.tissue.network`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omlab_slide.tissue.ink import PEN_SHARE, pen_mask
from omlab_slide.tissue.saturation import saturation

if TYPE_CHECKING:
    from omlab_slide.slide import Slide
    from omlab_slide.tissue.find import Tissue

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

FOLD_SHARE = 0.02
"""Of the tissue."""
SHARP = 0.1
"""Least ratio of the variances of a Laplacian and of the luminance, at 1 micrometre a pixel: H&E in focus has 0.4 to 2,
the same blurred by 1 micrometre 0.03 to 0.2, by 2 micrometres 0.005 to 0.03."""
SHARP_AT = 1.0
"""Micrometres a pixel at which sharpness is measured."""
DARK_GLASS = 200
"""Least luminance of glass that is called bright."""
_LOOKED_AT, _SIDE = 16, 256
_TEXTURED = 8.0


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What was found.

    Attributes:
        pen: Share of the slide that is ink.
        folds: Share of the tissue that is folded.
        sharpness: Median over patches of tissue; None where none was textured, or the slide is too coarse to tell.
        glass: Mean colour (R, G, B) of what is neither tissue nor ink; None where there is none.
        flaws: Parts of the slide that could not be decoded, as far as was read.
    """

    pen: float
    folds: float
    sharpness: float | None
    glass: tuple[int, int, int] | None
    flaws: int = 0

    def flags(self) -> list[str]:
        """A word for each that is doubtful."""
        found = []
        if self.pen > PEN_SHARE:
            found.append("pen")
        if self.sharpness is not None and self.sharpness < SHARP:
            found.append("blur")
        if self.folds > FOLD_SHARE:
            found.append("folds")
        if self.glass is not None and sum(self.glass) / 3 < DARK_GLASS:
            found.append("background")
        if self.flaws:
            found.append("corrupt")
        return found

    def to_value(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "pen": round(self.pen, 5),
            "folds": round(self.folds, 5),
            "sharpness": None if self.sharpness is None else round(self.sharpness, 4),
            "glass": None if self.glass is None else list(self.glass),
            "corrupt": self.flaws,
            "flags": self.flags(),
        }


def quality(slide: Slide, tissue: Tissue) -> Quality:
    """Look at a slide whose tissue is known. Raises `InputError` where its mpp is not."""
    from omlab_slide.resizing import at_size

    pixels = at_size(slide, (tissue.mask.shape[1], tissue.mask.shape[0]))
    pen = pen_mask(pixels)
    is_glass = ~tissue.mask & ~pen
    glass = np.median(pixels[is_glass], axis=0) if is_glass.any() else None
    is_folded = fold_mask(pixels) & tissue.mask & ~pen
    return Quality(
        pen=float(pen.mean()),
        folds=float(is_folded.sum() / max(1, tissue.mask.sum())),
        sharpness=_sharpness(slide, tissue),
        glass=None if glass is None else (int(glass[0]), int(glass[1]), int(glass[2])),
        flaws=len(set(slide.flaws)),
    )


def fold_mask(pixels: Pixels) -> Mask:
    """Where tissue lies double: more saturated than bright, in patches of some size (Kothari et al., 2013)."""
    hsv = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV).astype(np.int16)
    is_dark = ((hsv[..., 1] - hsv[..., 2]) > 25) & (hsv[..., 2] < 150)
    return np.asarray(cv2.morphologyEx(is_dark.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), bool)


def sharpness(pixels: Pixels) -> float | None:
    """Variance of the Laplacian over that of the luminance; None where there is no texture to judge by."""
    luminance = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY).astype(np.float32)
    spread = float(luminance.var())
    if spread < _TEXTURED**2:
        return None
    return float(cv2.Laplacian(luminance, cv2.CV_32F).var()) / spread


def _sharpness(slide: Slide, tissue: Tissue) -> float | None:
    """The median over some patches, spread evenly over the tissue; a slide coarser than 2 micrometres: None."""
    mpp = max(SHARP_AT, slide.scale)
    if mpp > 2 * SHARP_AT:
        return None
    found = []
    for x, y in _spread(tissue, side=_SIDE * mpp / slide.scale):
        ratio = sharpness(slide.read_at((x, y), mpp, (_SIDE, _SIDE)))
        if ratio is not None:
            found.append(ratio)
    return float(np.median(found)) if found else None


def _spread(tissue: Tissue, *, side: float) -> list[tuple[int, int]]:
    """Corners of some patches around pixels of tissue, the same each time."""
    rows, columns = np.nonzero(tissue.mask)
    if not len(rows):
        return []
    chosen = np.linspace(0, len(rows) - 1, min(_LOOKED_AT, len(rows))).astype(int)
    x = (columns[chosen] + 0.5) * tissue.downsample[0] - side / 2
    y = (rows[chosen] + 0.5) * tissue.downsample[1] - side / 2
    return [(round(float(left)), round(float(top))) for left, top in zip(x, y, strict=True)]


def is_white(pixels: Pixels, *, threshold: float) -> bool:
    """Whether the mean saturation (0 to 255) of a patch is below a threshold."""
    return bool(saturation(pixels).mean() < threshold)


def is_black(pixels: Pixels, *, threshold: float) -> bool:
    """Whether the mean of each channel of a patch is below a threshold."""
    means: Sequence[float] = pixels.reshape(-1, 3).mean(axis=0).tolist()
    return all(mean < threshold for mean in means)

"""From an image to what a network sees: blurred first where the weights expect it, then as MAE does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from omlab_deblurmim.blur import Blur
from omlab_image import Image
from omlab_image.training.paired import Paired
from omlab_image.transforms import Evaluation, Pretraining, evaluation

_CROP = 0.875  # 224 of 256 pixels


@dataclass(frozen=True, kw_only=True)
class Blurred:
    """An image, blurred in the resolution that it has; without a blur as it is."""

    blur: Blur | None

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """The image; `seed` is that of a motion."""
        return image if self.blur is None else image.with_array(self.blur(image.array, seed=seed))


def whole(size: int) -> Evaluation:
    """For embedding and classification: the middle of the image, [3, size, size]."""
    return evaluation(size, crop=_CROP)


def whole_for_masks(size: int) -> Evaluation:
    """For segmentation: the image, squeezed into a square, [3, size, size]."""
    return evaluation(size, crop=1.0, aspect="ignore", interpolation="bilinear")


@dataclass(frozen=True, kw_only=True)
class BlurredPaired(Paired):
    """An image, blurred, and its labels, changed alike."""

    before: Blurred

    def __call__(self, image: Image, labels: NDArray[Any], seed: int | None = None) -> tuple[Tensor, Tensor]:
        """The image (float32) and the labels (int64); without a seed resized and nothing else."""
        return super().__call__(self.before(image), labels, seed)


@dataclass(frozen=True, kw_only=True)
class BlurredAndSharp:
    """The two views of deblurring: the same part of the blurred image and of the sharp one, mirrored alike."""

    blur: Blur
    part: Pretraining

    def __call__(self, image: Image, seed: int) -> dict[str, Tensor]:
        """`image` (blurred) and `sharp`, [3, size, size] each."""
        blurred = Blurred(blur=self.blur)(image, seed)
        return {"image": self.part(blurred, seed), "sharp": self.part(image, seed)}

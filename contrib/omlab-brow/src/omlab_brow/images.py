"""What BROW's networks see of a patch: the middle of it as it is, or all of it; ImageNet's colours taken off.

As published a patch of 256 pixels at level 0 of a slide is cut to its middle 224, never resized: the size of a pixel in
micrometres is part of what the network has learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import functional  # type: ignore[import-untyped]

from omlab.errors import InputError
from omlab_image import Image
from omlab_image.transforms import IMAGENET_MEAN, IMAGENET_STD, evaluation

View = Literal["crop", "whole"]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """`Image` -> [3, size, size], normalised.

    Attributes:
        size: Pixels of each side.
        view: `crop`: the middle, not resized; `whole`: the image resized by its shorter side, and the middle of that.
    """

    size: int = 224
    view: View = "crop"

    def __call__(self, image: Image) -> Tensor:
        """What the network sees. Raises `InputError` for pixels that are no numbers, or too few of them."""
        if not image.is_finite():
            raise InputError(f"{image.name or 'The image'} has pixels that are NaN or infinite: mend or leave it out.")
        if self.view == "whole":
            return evaluation(self.size, crop=1.0)(image)
        height, width = image.shape
        if min(height, width) < self.size:
            raise InputError(
                f"{image.name or 'The image'} has {height} x {width} pixels, but the middle {self.size} x {self.size} "
                "of a patch are seen: give larger patches (of 256 as published), or the setting view=whole to resize."
            )
        values = torch.from_numpy(np.atleast_3d(image.unit())).permute(2, 0, 1).expand(3, -1, -1)
        cut = functional.center_crop(values, [self.size, self.size])
        normalised: Tensor = functional.normalize(cut, list(IMAGENET_MEAN), list(IMAGENET_STD))
        return normalised

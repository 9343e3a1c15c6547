"""The views of self-distillation: two large parts of an image for both networks, small ones for the student.

The augmentation is DINO's (Caron et al. 2021), made by torchvision on 8-bit pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageFilter, ImageOps
from torch import Tensor
from torchvision.transforms import (  # type: ignore[import-untyped]
    ColorJitter,
    InterpolationMode,
    RandomApply,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    functional,
)

from omlab.errors import InputError
from omlab_image import Image
from omlab_image.randomness import seeded
from omlab_image.transforms import IMAGENET_MEAN, IMAGENET_STD

_BLURRED = (1.0, 0.1, 0.5)  # how often: the first view for both networks, the second one, small views
_SOLARISED = 0.2  # how often, of the second view
_RADII = (0.1, 2.0)


@dataclass(frozen=True, kw_only=True)
class MultiCrop:
    """(`Image`, seed) -> `global` [2, 3, size, size], `local` [count, 3, local_size, local_size], perhaps `scale`.

    Attributes:
        size: Pixels of a side of a large view.
        local_size: Of a small one.
        local_views: Small views there are.
        parts: The share of the area that a large view is cut from.
        local_parts: That of a small one.
        surroundings: 0: none. Else views are cut from the middle, by this factor narrower than the image, and the
            whole image, resized, is a further view, `scale`: what a slide shows around a patch.
    """

    size: int = 224
    local_size: int = 96
    local_views: int = 8
    parts: tuple[float, float] = (0.4, 1.0)
    local_parts: tuple[float, float] = (0.05, 0.4)
    surroundings: float = 0.0

    def __call__(self, image: Image, seed: int) -> dict[str, Tensor]:
        """The views, a pure function of image and seed. Raises `InputError` where pixels are no numbers."""
        if not image.is_finite():
            raise InputError(f"{image.name or 'An image'} has pixels that are NaN or infinite: mend or leave it out.")
        picture = Pillow.fromarray(image.rgb())
        with seeded(seed):
            middle = _middle(picture, self.surroundings) if self.surroundings else picture
            large = [_view(middle, size=self.size, parts=self.parts, number=number) for number in (0, 1)]
            small = [
                _view(middle, size=self.local_size, parts=self.local_parts, number=2) for _ in range(self.local_views)
            ]
            views = {
                "global": torch.stack(large),
                "local": torch.stack(small) if small else torch.empty(0, 3, self.local_size, self.local_size),
            }
            if self.surroundings:
                views["scale"] = _view(picture, size=self.size, parts=(1.0, 1.0), number=1)[None]
        return views


def _middle(picture: Pillow.Image, factor: float) -> Pillow.Image:
    width, height = picture.size
    cut: Pillow.Image = functional.center_crop(picture, [max(1, int(height / factor)), max(1, int(width / factor))])
    return cut


def _view(picture: Pillow.Image, *, size: int, parts: tuple[float, float], number: int) -> Tensor:
    """A part of the picture, of other colours, blurred and solarised as often as is usual for the view's number."""
    view = RandomResizedCrop(size, scale=parts, interpolation=InterpolationMode.BICUBIC)(picture)
    view = RandomHorizontalFlip()(view)
    view = RandomApply([ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)], p=0.8)(view)
    view = RandomGrayscale(p=0.2)(view)
    if _drawn() <= _BLURRED[number]:
        view = view.filter(ImageFilter.GaussianBlur(radius=_drawn(*_RADII)))
    if number == 1 and _drawn() < _SOLARISED:
        view = ImageOps.solarize(view)
    tensor = torch.from_numpy(np.array(view)).permute(2, 0, 1).float() / 255
    normalised: Tensor = functional.normalize(tensor, list(IMAGENET_MEAN), list(IMAGENET_STD))
    return normalised


def _drawn(least: float = 0.0, most: float = 1.0) -> float:
    return least + (most - least) * float(torch.rand(()))

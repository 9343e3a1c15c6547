"""What the pre-training tasks are shown of a case: (sample, seed) -> tensors by name, a pure function of both.

Every view is of 8 bits, through Pillow and torchvision, with values from 0 to 1. The constants are upstream's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image as Pillow
from PIL import ImageFilter
from torch import Tensor
from torchvision.transforms import ColorJitter, RandomCrop, RandomResizedCrop, functional  # type: ignore[import-untyped]

from omlab import Sample
from omlab.errors import TrainingError
from omlab_image import Image
from omlab_image.randomness import seeded
from omlab_image.training.cases import image_of
from omlab_pathoduet.images import as_it_is

_REFERENCE = 16
"""Side of what a pretext token is made of."""
_STAIN = 64
"""Side that an image has when its stain is cut out."""
_PATCH_OF_REGION = 4
"""A patch is a quarter of its region wide: 256 of 1024 pixels."""
_SOLARISED_FROM = 128


@dataclass(frozen=True, kw_only=True)
class Changed:
    """How a picture is changed at random, in this order; draws are torch's own.

    Attributes:
        jitter: Of brightness, contrast, saturation and hue.
        jittered: Probability of it.
        grey: Probability of losing the colours.
        blurred: Probability of a Gaussian blur of 0.1 to 2 pixels.
        solarised: Probability of inverting what is above 128.
        flipped: Probability of being mirrored.
    """

    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jittered: float = 0.8
    grey: float = 0.2
    blurred: float = 1.0
    solarised: float = 0.0
    flipped: float = 0.5

    def __call__(self, picture: Any) -> Tensor:
        """A picture of Pillow as [3, H, W] from 0 to 1."""
        if _happens(self.jittered):
            picture = ColorJitter(*self.jitter)(picture)
        if _happens(self.grey):
            picture = functional.rgb_to_grayscale(picture, num_output_channels=3)
        if _happens(self.blurred):
            picture = picture.filter(ImageFilter.GaussianBlur(float(torch.empty(()).uniform_(0.1, 2.0))))
        if _happens(self.solarised):
            picture = functional.solarize(picture, _SOLARISED_FROM)
        if _happens(self.flipped):
            picture = functional.hflip(picture)
        return _tensor(picture)


FIRST = Changed()
SECOND = replace(FIRST, blurred=0.1, solarised=0.2)
REGION = replace(FIRST, blurred=0.1)
STAINED = Changed(jitter=(0.4, 0.4, 0.2, 0.04), grey=0.0, blurred=0.1)
"""H&E images of the cross-stain task."""
TURNED = replace(STAINED, jittered=0.0)
"""IHC images of it, and what is cut out of them, after the jitter that they share."""


@dataclass(frozen=True, kw_only=True)
class TwoViews:
    """MoCo's: `first` and `second`, two random parts of a patch, [3, size, size] each."""

    size: int
    least_area: float = 0.08

    def __call__(self, sample: Sample, seed: int) -> dict[str, Tensor]:
        """Of the input `image`, or of the only one."""
        with seeded(seed):
            return self.of(_picture(image_of(sample, input="image", before=as_it_is)))

    def of(self, patch: Any) -> dict[str, Tensor]:
        """Of a picture, by torch's present draws."""
        part = RandomResizedCrop(self.size, scale=(self.least_area, 1.0), antialias=True)
        return {"first": FIRST(part(patch)), "second": SECOND(part(patch))}


@dataclass(frozen=True, kw_only=True)
class PatchInRegion:
    """Those of MoCo, `reference` (the whole patch, [3, 16, 16]) and `region`, mirrored by itself.

    A case has a patch, `image`, and the `region` around it; or one image alone, which is the region: a patch of a
    quarter of its sides is then cut out of it at random.
    """

    views: TwoViews

    def __call__(self, sample: Sample, seed: int) -> dict[str, Tensor]:
        """Raises `TrainingError` where there are several images that bear other names."""
        images = _images(sample)
        with seeded(seed):
            if "region" in images and len(images) > 1:
                region = _picture(images["region"])
                patch = _picture(image_of(_without(sample, "region"), input="image", before=as_it_is))
            else:
                region = _picture(image_of(sample, input="region", before=as_it_is))
                sides = [max(1, side // _PATCH_OF_REGION) for side in (region.height, region.width)]
                patch = RandomCrop(sides)(region)
            views = self.views.of(patch)
            side = [self.views.size] * 2
            return views | {
                "reference": _tensor(functional.resize(patch, [_REFERENCE] * 2, antialias=True)),
                "region": REGION(functional.resize(region, side, antialias=True)),
            }


@dataclass(frozen=True, kw_only=True)
class PairOfStains:
    """The cross-stain task's `he`, `ihc`, [3, size, size] each, and `stain`, [3, 16, 16] of the IHC, of one place."""

    size: int

    def __call__(self, sample: Sample, seed: int) -> dict[str, Tensor]:
        """Of the inputs `he` and `ihc`. Raises `TrainingError` where one of them is not there."""
        he, ihc = _pair(sample)
        with seeded(seed):
            if _happens(STAINED.jittered):
                ihc = ColorJitter(*STAINED.jitter)(ihc)
            return {
                "he": STAINED(_middle(he, self.size)),
                "ihc": TURNED(_middle(ihc, self.size)),
                "stain": TURNED(_cut_out(ihc)),
            }


@dataclass(frozen=True, kw_only=True)
class MaskedPair:
    """The multi-stain task's `he` and `ihc`, mirrored alike, `stain` and `noise` [patches]: which are removed."""

    size: int
    patches: int

    def __call__(self, sample: Sample, seed: int) -> dict[str, Tensor]:
        """Of the inputs `he` and `ihc`. Raises `TrainingError` where one of them is not there."""
        he, ihc = (_middle(picture, self.size) for picture in _pair(sample))
        with seeded(seed):
            if _happens(0.5):
                he, ihc = functional.hflip(he), functional.hflip(ihc)
            return {
                "he": _tensor(he),
                "ihc": _tensor(ihc),
                "stain": _tensor(_cut_out(ihc)),
                "noise": torch.rand(self.patches),
            }


def _happens(probability: float) -> bool:
    return bool(torch.rand(()) < probability)


def _pair(sample: Sample) -> tuple[Any, Any]:
    images = _images(sample)
    lacking = [name for name in ("he", "ihc") if name not in images]
    if lacking:
        given = ", ".join(f"'{name}'" for name in images) or "none"
        raise TrainingError(
            f"Case '{sample.id}' has no image '{lacking[0]}' (its images: {given}): this recipe learns from pairs of "
            "one place, such as a table with the columns he and ihc (--data cases:pairs.csv)."
        )
    return _picture(as_it_is(images["he"])), _picture(as_it_is(images["ihc"]))


def _images(sample: Sample) -> dict[str, Image]:
    return {name: payload for name, payload in sample.inputs.items() if isinstance(payload, Image)}


def _without(sample: Sample, name: str) -> Sample:
    return replace(sample, inputs={key: value for key, value in sample.inputs.items() if key != name})


def _picture(image: Image) -> Any:
    return Pillow.fromarray(as_it_is(image).rgb())


def _tensor(picture: Any) -> Tensor:
    tensor: Tensor = functional.to_tensor(picture)
    return tensor


def _middle(picture: Any, size: int) -> Any:
    """The middle square of `size`, after the shorter side was resized to it."""
    return functional.center_crop(functional.resize(picture, size, antialias=True), [size, size])


def _cut_out(picture: Any) -> Any:
    """A random part of 16 pixels of a side, of the picture at 64 pixels."""
    small = functional.resize(picture, [_STAIN, _STAIN], antialias=True)
    return RandomCrop(_REFERENCE)(small)

"""From an `Image` to what a network takes: [3, size, size] float32, through torchvision and timm.

    prepare = evaluation(size=224)           # Image -> Tensor
    augment = training(size=224)             # (Image, seed) -> Tensor, a pure function of both

Each is a small object that can be pickled and compared; `repr` says all that it does. Images of 8 bits go through
Pillow, pixel for pixel as torchvision and timm do it for published models; others are resized as floats, so that no
grey level is lost, but for `training`, whose augmentations know 8 bits only. All refuse NaN (`InputError`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor
from torchvision.transforms import (  # type: ignore[import-untyped]
    InterpolationMode,
    RandomResizedCrop,
    functional,
)

from omlab.errors import InputError, SettingsError
from omlab_image.fundus import fundus_crop
from omlab_image.image import Image
from omlab_image.randomness import seeded

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Evaluation",
    "Pretraining",
    "Standardised",
    "Training",
    "evaluation",
    "fundus_crop",
    "pretraining",
    "standardised",
    "training",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_MOST_ELONGATED = 100
"""Beyond that ratio of the sides an image that keeps it would not fit into memory when its shorter side is resized."""

Colour = tuple[float, float, float]
Aspect = Literal["keep", "ignore"]
Interpolation = Literal["nearest", "bilinear", "bicubic"]


@dataclass(frozen=True, kw_only=True)
class _Normalising:
    """What all have in common that give a square whose colours are normalised by fixed numbers."""

    size: int = 224
    interpolation: Interpolation = "bicubic"
    mean: Colour = IMAGENET_MEAN
    std: Colour = IMAGENET_STD

    def __post_init__(self) -> None:
        _check_size(self.size)
        _check_normalisation(self.mean, self.std)
        _check_choice("interpolation", self.interpolation, ("nearest", "bilinear", "bicubic"))


@dataclass(frozen=True, kw_only=True)
class Evaluation(_Normalising):
    """Resize to size / crop, cut `size` from the middle, normalise; see `evaluation`."""

    crop: float = 0.875
    aspect: Aspect = "keep"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("aspect", self.aspect, ("keep", "ignore"))
        if not 0 < self.crop <= 1:
            raise SettingsError(f"crop is {self.crop}, but must be above 0 and at most 1.")

    def __call__(self, image: Image) -> Tensor:
        """The image as [3, size, size]. Raises `InputError` for one that is far too elongated."""
        side = int(self.size / self.crop)
        long, short = max(image.shape), min(image.shape)
        if self.aspect == "keep" and long > _MOST_ELONGATED * short:
            raise InputError(
                f"{image.name or 'An image'} has {image.shape[0]} x {image.shape[1]} pixels: too elongated to be cut "
                "to a square; cut out what is to be looked at."
            )
        wanted = [side] if self.aspect == "keep" else [side, side]
        resized = _resized(_colours(image), wanted, self.interpolation)
        return _normalised(functional.center_crop(resized, [self.size, self.size]), self.mean, self.std)


@dataclass(frozen=True, kw_only=True)
class Standardised:
    """Resize to a square, then each channel by its own mean and deviation; see `standardised`."""

    size: int = 224

    def __post_init__(self) -> None:
        _check_size(self.size)

    def __call__(self, image: Image) -> Tensor:
        """The image as [3, size, size]."""
        resized = _as_tensor(_resized(_colours(image), [self.size, self.size], "bicubic")).double()
        mean = resized.mean(dim=(1, 2), keepdim=True)
        std = resized.std(dim=(1, 2), keepdim=True, correction=0)
        return torch.where(std > 0, (resized - mean) / std.clamp_min(1e-12), 0.0).float()


@dataclass(frozen=True, kw_only=True)
class Training(_Normalising):
    """What timm does to images for training; see `training`."""

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    vertical_flip: float = 0.0
    auto_augment: str = "rand-m9-mstd0.5-inc1"
    colour_jitter: float = 0.0
    erasing: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_scale(self.scale)
        for name in ("flip", "vertical_flip", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, but a probability lies between 0 and 1.")
        if self.colour_jitter < 0:
            raise SettingsError(f"colour_jitter is {self.colour_jitter}, but must be at least 0.")
        try:
            _timm(self)
        except (AssertionError, ValueError, KeyError, IndexError) as error:
            raise SettingsError(
                f"auto_augment is '{self.auto_augment}', which timm does not know ({error}); such as "
                "rand-m9-mstd0.5-inc1, or empty for none."
            ) from error

    def __call__(self, image: Image, seed: int) -> Tensor:
        """The image as [3, size, size], changed at random by `seed`."""
        with seeded(seed):
            tensor: Tensor = _timm(self)(Pillow.fromarray(_finite(image).rgb()))
        return tensor


@dataclass(frozen=True, kw_only=True)
class Pretraining(_Normalising):
    """A random part of the image, perhaps mirrored; see `pretraining`."""

    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_scale(self.scale)
        if not 0 <= self.flip <= 1:
            raise SettingsError(f"flip is {self.flip}, but a probability lies between 0 and 1.")

    def __call__(self, image: Image, seed: int) -> Tensor:
        """The image as [3, size, size], cut out and perhaps mirrored by `seed`.

        Images of the same size get the same part with the same seed: a blurred one and its sharp original.
        """
        pixels = _colours(image)
        with seeded(seed):
            place = RandomResizedCrop.get_params(pixels, list(self.scale), list(self.ratio))
            is_mirrored = bool(torch.rand(()) < self.flip)
        cut = functional.resized_crop(
            pixels, *place, [self.size, self.size], InterpolationMode(self.interpolation), antialias=True
        )
        return _normalised(functional.hflip(cut) if is_mirrored else cut, self.mean, self.std)


def evaluation(
    size: int = 224,
    *,
    crop: float = 0.875,
    aspect: Aspect = "keep",
    interpolation: Interpolation = "bicubic",
    mean: Colour = IMAGENET_MEAN,
    std: Colour = IMAGENET_STD,
) -> Evaluation:
    """The usual preparation for networks that know ImageNet's colours: `Image` -> [3, size, size].

    Args:
        size: Pixels of each side.
        crop: Share of the resized image's shorter side that is cut from its middle; 1: nothing is cut off it.
        aspect: "keep" resizes the shorter side to int(size / crop); "ignore" both sides, whatever their ratio.
        interpolation: Pillow's "nearest", "bilinear" or "bicubic" (antialiased).
        mean: Taken off each colour (0 to 1).
        std: Each colour is divided by it.

    Raises `SettingsError` for a value that cannot be.
    """
    return Evaluation(size=size, crop=crop, aspect=aspect, interpolation=interpolation, mean=mean, std=std)


def standardised(size: int = 224) -> Standardised:
    """RETFound's feature notebook: resize to a square, then standardise each channel of each image by itself.

    The mean and the population deviation are those of the resized channel; a constant channel becomes 0. Features are
    not comparable with those of `evaluation`.
    """
    return Standardised(size=size)


def training(size: int = 224, **settings: Any) -> Training:
    """What timm's `create_transform` does for training: (`Image`, seed) -> [3, size, size], a pure function of both.

    A random part of `scale` of the area and of a `ratio` of sides, mirrored with the probability `flip` (and upside
    down with `vertical_flip`), `auto_augment` (RandAugment; empty: none), `colour_jitter` (where there is no
    auto_augment), normalised by `mean` and `std`, a rectangle of noise with the probability `erasing`. Images are
    reduced to 8 bits.

    Raises `SettingsError` for a value that cannot be.
    """
    return Training(size=size, **settings)


def pretraining(size: int = 224, **settings: Any) -> Pretraining:
    """The augmentation of masked autoencoders: (`Image`, seed) -> [3, size, size], a pure function of both.

    A random part of `scale` (0.2 to 1) of the area, of a `ratio` of sides, mirrored with the probability `flip`,
    normalised by `mean` and `std`.

    Raises `SettingsError` for a value that cannot be.
    """
    return Pretraining(size=size, **settings)


def _colours(image: Image) -> Any:
    """What torchvision takes: a Pillow image of 8 bits, else floats (3, H, W) from 0 to 1."""
    if image.array.dtype == np.uint8 and image.bit_depth == 8:
        return Pillow.fromarray(image.rgb())
    values = torch.from_numpy(_finite(image).unit())
    return values.expand(3, *values.shape) if image.is_grey else values.permute(2, 0, 1)


def _finite(image: Image) -> Image:
    if not image.is_finite():
        raise InputError(f"{image.name or 'An image'} has pixels that are NaN or infinite: replace them.")
    return image


def _resized(pixels: Any, size: list[int], interpolation: str) -> Any:
    resized = functional.resize(pixels, size, InterpolationMode(interpolation), antialias=True)
    return resized.clamp(0, 1) if isinstance(resized, Tensor) else resized


def _as_tensor(pixels: Any) -> Tensor:
    """(3, H, W) from 0 to 1."""
    tensor: Tensor = pixels.clamp(0, 1) if isinstance(pixels, Tensor) else functional.to_tensor(pixels)
    return tensor


def _normalised(pixels: Any, mean: Colour, std: Colour) -> Tensor:
    tensor: Tensor = functional.normalize(_as_tensor(pixels), list(mean), list(std))
    return tensor


@cache
def _timm(how: Training) -> Any:
    from timm.data.transforms_factory import create_transform

    made = create_transform(
        input_size=how.size,
        is_training=True,
        scale=how.scale,
        ratio=how.ratio,
        hflip=how.flip,
        vflip=how.vertical_flip,
        color_jitter=how.colour_jitter,
        auto_augment=how.auto_augment or None,
        interpolation=how.interpolation,
        re_prob=how.erasing,
        re_mode="pixel",
        re_count=1,
        mean=how.mean,
        std=how.std,
    )
    for transform in made.transforms:
        for operation in (*getattr(transform, "ops", ()), *itertools.chain(*getattr(transform, "policy", ()))):
            if operation.name.startswith("Posterize"):
                operation.aug_fn = partial(_posterised, operation.aug_fn)
    return made


def _posterised(posterise: Any, image: Any, bits: int, **more: Any) -> Any:
    """With timm's 0 bits at the highest magnitude too: black, which Pillow no longer makes from release 13 on."""
    return posterise(image, bits, **more) if bits > 0 else Pillow.new(image.mode, image.size)


def _check_size(size: int) -> None:
    if size < 1:
        raise SettingsError(f"size is {size}, but must be at least 1 pixel.")


def _check_normalisation(mean: Colour, std: Colour) -> None:
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise SettingsError(f"mean and std are three numbers each, std above 0, not {mean} and {std}.")


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"{name} is '{value}', but must be one of {', '.join(known)}.")


def _check_scale(scale: tuple[float, float]) -> None:
    if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
        raise SettingsError(f"scale is {scale}, but must be two shares of the area, 0 < least <= most <= 1.")

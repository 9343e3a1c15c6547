"""Mixing the images of a batch: mixup and cutmix, through torchvision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torchvision.transforms import v2  # type: ignore[import-untyped]

from omlab.errors import SettingsError
from omlab_image.randomness import seeded
from omlab_train.settings import mixed_seed


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Mixes each image of a batch with its neighbour, and their targets alike.

    Attributes:
        mixup: Alpha of the Beta distribution of shares (Zhang et al., ICLR 2018); 0: no mixup.
        cutmix: The same of areas cut out (Yun et al., ICCV 2019); 0: no cutmix. With both, each batch has one of them,
            equally likely.

    Raises `SettingsError` for one below 0.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("mixup", self.mixup), ("cutmix", self.cutmix)):
            if value < 0:
                raise SettingsError(f"{name} is {value}, but must be at least 0.")

    def __call__(self, image: Tensor, target: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) and targets (B, K), mixed by `seed`."""
        ways = [(make, alpha) for make, alpha in ((v2.MixUp, self.mixup), (v2.CutMix, self.cutmix)) if alpha > 0]
        if not ways or len(image) < 2:
            return image, target
        seed = mixed_seed(seed, len(image))
        make, alpha = ways[int(np.random.default_rng(seed % 2**64).integers(len(ways)))]
        with seeded(seed):
            mixed: tuple[Tensor, Tensor] = make(alpha=alpha)(image, target)
        return mixed

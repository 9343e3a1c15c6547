"""The two masks of USFM's pre-training: bands of frequencies, and blocks of pixels.

Upstream publishes both mask generators but neither their constants nor the training that uses them; the defaults of the
recipe `spatial-frequency` are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Bands:
    """Rings of frequencies around the middle of a shifted spectrum of `size` x `size`.

    Their radii are `protected`, `first` and so on, each larger by a `growth`-th of itself (rounded down), at most by
    `most`, up to half the size. What is within the first or beyond the last radius is never masked.
    """

    size: int
    protected: int = 2
    first: int = 4
    growth: float = 0.3
    most: int = 16

    def __post_init__(self) -> None:
        if not 0 <= self.protected <= self.first:
            raise ValueError(f"The protected radius {self.protected} must be at most the first one, {self.first}.")
        if min(int(self.first * self.growth), self.most) < 1:
            raise ValueError(
                f"A radius of {self.first} that grows by {self.growth} of itself, at most {self.most}, does not grow."
            )

    @property
    def radii(self) -> list[int]:
        """Of the rings, from the inside."""
        radii = [self.protected]
        following = self.first
        while following <= self.size // 2:
            radii.append(following)
            following += min(int(following * self.growth), self.most)
        return radii

    def number(self) -> Tensor:
        """(size, size) int64: the number of the ring that each frequency of the shifted spectrum is in, -1 for none."""
        steps = torch.arange(self.size, dtype=torch.float64) - self.size // 2
        distance = (steps[:, None].square() + steps.square()).sqrt()
        ring = torch.bucketize(distance, torch.tensor(self.radii, dtype=torch.float64)) - 1
        return torch.where(ring < len(self), ring, -1)

    def __len__(self) -> int:
        """How many rings there are."""
        return len(self.radii) - 1

    def without(self, rings: Tensor) -> Tensor:
        """(..., size, size) float32: 0 in the rings that (..., rings) says, 1 elsewhere, of the shifted spectrum."""
        stopped = functional.pad(rings.float(), (0, 1))  # what is in no ring is numbered -1: the last entry
        return 1 - stopped[..., self.number().to(rings.device)]


def chosen(count: int, *, share: float, batch: int, generator: torch.Generator) -> Tensor:
    """(batch, count) bool: a `share` of `count` things, rounded down, is true in each row."""
    places = drawn_orders(count, batch=batch, generator=generator).argsort(dim=1)
    return places < int(share * count)


def drawn_orders(count: int, *, batch: int, generator: torch.Generator) -> Tensor:
    """(batch, count) int64: permutations, on the device of the generator."""
    return torch.rand(batch, count, generator=generator, device=generator.device).argsort(dim=1)


def band_stopped(image: Tensor, keep: Tensor) -> Tensor:
    """Images (..., S, S) of values from 0 without the frequencies at which `keep` (..., S, S) is 0.

    What is negative then is turned positive, as published, so this comes before mean and standard deviation are taken
    off. `keep` is of the shifted spectrum and the same for opposite frequencies: one real transform does.
    """
    half = torch.fft.ifftshift(keep, dim=(-2, -1))[..., : image.shape[-1] // 2 + 1]
    left: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * half, s=image.shape[-2:])
    return left.abs()


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Masked squares of `block` pixels on an image of `size` x `size`, told to the network in patches of `patch`."""

    size: int
    block: int = 32
    patch: int = 16
    share: float = 0.6

    def __post_init__(self) -> None:
        if self.size % self.block or self.block % self.patch:
            raise ValueError(
                f"{self.size} px are no whole number of blocks of {self.block} px, or those none of patches of "
                f"{self.patch} px."
            )
        if not 0 <= self.share <= 1:
            raise ValueError(f"The share of masked blocks is {self.share}, but must be between 0 and 1.")

    @property
    def side(self) -> int:
        """Blocks along a side."""
        return self.size // self.block

    @property
    def count(self) -> int:
        """Masked blocks."""
        return math.ceil(self.share * self.side**2)

    def mask(self, orders: Tensor) -> Tensor:
        """(B, size / patch, size / patch) float32, 1 in the first `count` blocks of each of (B, side^2) orders."""
        blocks = (orders.argsort(dim=1) < self.count).float()
        return enlarged(blocks.view(-1, self.side, self.side), self.block // self.patch)

    def drawn(self, batch: int, generator: torch.Generator) -> Tensor:
        """Masks by chance."""
        return self.mask(drawn_orders(self.side**2, batch=batch, generator=generator))


def enlarged(mask: Tensor, times: int) -> Tensor:
    """(..., h, w) -> (..., h times, w times): each entry repeated."""
    return mask.repeat_interleave(times, dim=-2).repeat_interleave(times, dim=-1)


def mean_filled(image: Tensor, mask: Tensor) -> Tensor:
    """Images (..., C, S, S) whose masked patches hold each channel's mean over the whole image; mask (..., h, w)."""
    pixels = enlarged(mask, image.shape[-1] // mask.shape[-1]).unsqueeze(-3).bool()
    return torch.where(pixels, image.mean(dim=(-2, -1), keepdim=True), image)


def masked_error(found: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """The mean absolute error of (B, C, S, S) over the pixels of masked patches, mask (B, h, w)."""
    pixels = enlarged(mask, image.shape[-1] // mask.shape[-1]).unsqueeze(-3).to(found)
    return ((found - image).abs() * pixels).sum() / (pixels.sum() * image.shape[-3]).clamp(min=1)


def spectrum_error(found: Tensor, image: Tensor) -> Tensor:
    """The mean absolute error of the logarithm of 1 + amplitude over all frequencies of (B, C, S, S)."""
    theirs, ours = (torch.log1p(torch.fft.rfft2(one.float(), norm="ortho").abs()) for one in (image, found))
    return functional.l1_loss(ours, theirs)

"""Does training help, slice by slice? Drawn brains for brain-regions-tiny and brain-style-tiny.

    python benchmarks/learn_slices.py [regions] [style]

Prints the first and last losses, and the figures of the untrained and of the trained network on other brains, with
95 % intervals of the mean (bootstrap over brains).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from learn import HELD_OUT, interval, losses
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from omlab_axonseg import region_network, style_networks
from omlab_axonseg.region_network import VIEWS, RegionConfig
from omlab_axonseg.region_slices import decided, probabilities
from omlab_axonseg.region_training import MeanTeacher, RegionRecipe, SliceBatches
from omlab_axonseg.style_slices import prepared
from omlab_axonseg.style_training import CropBatches, StyleRecipe

SIDE = 40
CORTEX, STEM = 1, 2
BRAIN, OTHER = (0.1, 0.5, 0.8, 0.35), (0.05, 0.8, 0.3, 0.6)
"""How bright ground, cortex, stem and the rest are in a brain, and in the other style."""


def anatomy(seed: int) -> NDArray[np.uint8]:
    """A brain (D, L, F) of an ellipsoid: 1 its shell, 2 a ball in its lower middle, 3 all else; 0 around it."""
    rng = np.random.default_rng(seed)
    grid = np.ogrid[:SIDE, :SIDE, :SIDE]
    middle, radii = rng.uniform(0.46, 0.54, 3) * SIDE, rng.uniform(0.34, 0.44, 3) * SIDE

    def within(share: float, *, shift: Sequence[float] = (0, 0, 0)) -> NDArray[np.bool_]:
        parts = zip(grid, middle, radii, shift, strict=True)
        return np.asarray(sum(((axis - at - by) / (share * radius)) ** 2 for axis, at, radius, by in parts) < 1)

    found = np.zeros((SIDE,) * 3, np.uint8)
    found[within(1.0)] = CORTEX
    found[within(rng.uniform(0.72, 0.82))] = 3
    found[within(rng.uniform(0.3, 0.4), shift=(0.3 * radii[0], 0, rng.uniform(-0.1, 0.2) * radii[2]))] = STEM
    return found


def shown(tissues: NDArray[np.uint8], seed: int, *, levels: Sequence[float] = BRAIN) -> NDArray[np.float32]:
    """A brain as it is photographed: blurred, shaded and noisy."""
    rng = np.random.default_rng([seed, 1])
    image = ndimage.gaussian_filter(np.array(levels)[tissues], 0.6)
    shade = 1 + 0.15 * rng.normal() * np.linspace(-1, 1, SIDE)[:, None, None]
    return np.asarray((image * shade + rng.normal(0, 0.04, image.shape)).clip(0, 1), np.float32)


def training_brain(seed: int, sizes: Sequence[int], *, labelled: bool) -> dict[str, NDArray[Any]]:
    """As `omlab_axonseg.region_training` keeps it."""

    def resized(array: NDArray[Any], **how: Any) -> NDArray[Any]:
        return functional.interpolate(torch.from_numpy(array)[None, None].float(), tuple(sizes), **how)[0, 0].numpy()

    tissues = anatomy(seed)
    image = resized(shown(tissues, seed), mode="trilinear")
    empty: dict[str, NDArray[Any]] = {view: np.zeros(0, np.int64) for view in VIEWS}
    if not labelled:
        return {"image": image, "labels": np.zeros(0, np.uint8), **empty}
    labels = resized(np.where(tissues == 3, 0, tissues), mode="nearest-exact").astype(np.uint8)
    others = {view: tuple(other for other in range(3) if other != axis) for view, axis in VIEWS.items()}
    return {"image": image, "labels": labels, **{v: np.flatnonzero(labels.any(axis=o)) for v, o in others.items()}}


def regions() -> None:
    """Both views with few channels: three labelled brains, three without labels."""
    config = RegionConfig(**region_network.TINY)
    network = region_network.untrained(config)

    def figures() -> str:
        network.eval()
        dice: dict[int, list[float]] = {CORTEX: [], STEM: []}
        for seed in range(1000, 1000 + HELD_OUT):
            tissues = anatomy(seed)
            share = probabilities(network, shown(tissues, seed), batch_size=8, device="cpu")
            found = decided(share, least=0.7)
            for value, mine in dice.items():
                both = ((found == value) & (tissues == value)).sum()
                mine.append(float(2 * both / ((found == value).sum() + (tissues == value).sum())))
        return f"Dice of the shell {interval(dice[CORTEX])}, of the ball {interval(dice[STEM])}"

    batches = SliceBatches(
        labelled=tuple(training_brain(seed, config.sizes, labelled=True) for seed in range(3)),
        unlabelled=tuple(training_brain(seed, config.sizes, labelled=False) for seed in range(3, 6)),
        views=config.views,
        num_classes=2,
        slices=4,
        seed=0,
    )
    settings = {"steps_per_epoch": 60, "epochs": 10, "slices_rate": 0.002}
    module = MeanTeacher(network, mirror=True)
    before = figures()
    print("brain-regions-tiny", losses(RegionRecipe(module, batches, settings=settings, fingerprint="drawn")))
    print("  untrained", before)
    print("  trained  ", figures(), flush=True)


def style() -> None:
    """CycleGAN with few channels: brains and references that do not belong together."""
    config = style_networks.TINY
    network = style_networks.untrained(config)

    def slices(seed: int, levels: Sequence[float]) -> torch.Tensor:
        coronal = np.moveaxis(shown(anatomy(seed), seed, levels=levels), VIEWS["coronal"], 0)[8:-8:2]
        return prepared(torch.from_numpy(np.ascontiguousarray(coronal))[:, None], config)

    def figures(convert: Any) -> str:
        network.eval()
        apart = []
        for seed in range(1000, 1000 + HELD_OUT):
            with torch.inference_mode():
                made = convert(slices(seed, BRAIN)).clamp(0, 1)
            apart.append(float((made - slices(seed, OTHER)).abs().mean()))
        return f"mean difference from the same brain in the other style {interval(apart)}"

    batches = CropBatches(
        slices={
            "volume": torch.cat([slices(seed, BRAIN)[:, 0] for seed in range(12)]),
            "reference": torch.cat([slices(seed, OTHER)[:, 0] for seed in range(50, 62)]),
        },
        crop=config.crop,
        seed=0,
    )
    settings = {"steps_per_epoch": 100, "epochs": 12, "style_rate": 0.002}
    before = figures(network.netG_A)
    print("brain-style-tiny", losses(StyleRecipe(network, batches, settings=settings, fingerprint="drawn")))
    print("  left as it is", figures(lambda part: part))
    print("  untrained    ", before)
    print("  trained      ", figures(network.netG_A), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for part in sys.argv[1:] or ["regions", "style"]:
        {"regions": regions, "style": style}[part]()

"""Does training help? Drawn axons among artefacts for axonseg-cube-tiny, deformed blobs for atlas-registration-tiny.

    python benchmarks/learn.py [axons] [registration]        # slices: learn_slices.py

Prints the first and last losses, and the figures of the untrained and of the trained network on cases of their own with
95 % intervals of the mean (bootstrap over cases).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

import omlab_train
from omlab_axonseg import axial_unet
from omlab_axonseg.annotation import centre_lines
from omlab_axonseg.axon_networks import TINY
from omlab_axonseg.metrics import score
from omlab_axonseg.register import TINY_WIDTHS, untrained
from omlab_axonseg.register_training import PairBatches, RegistrationRecipe
from omlab_axonseg.registration.cascade import Cascade, CascadeConfig
from omlab_axonseg.registration.losses import local_correlation
from omlab_axonseg.training import AxonBatches, AxonRecipe

SIDE = 32
HELD_OUT = 12


def axon_cube(seed: int, *, axons: int = 4) -> dict[str, NDArray[Any]]:
    """Bright threads of a random walk on a noisy ground, among round artefacts that are as bright."""
    rng = np.random.default_rng(seed)
    label = np.zeros((SIDE,) * 3, bool)
    for _ in range(axons):
        place, step = rng.uniform(4, SIDE - 4, 3), rng.normal(size=3)
        for _ in range(3 * SIDE):
            step = step + 0.3 * rng.normal(size=3)
            place = place + step / np.linalg.norm(step)
            if not ((place >= 0) & (place < SIDE)).all():
                break
            label[tuple(place.astype(int))] = True
    label = ndimage.binary_dilation(label)
    blobs = np.zeros_like(label)
    for centre in rng.integers(0, SIDE, (3, 3)):
        grid = np.ogrid[:SIDE, :SIDE, :SIDE]
        blobs |= sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) < rng.uniform(9, 25)
    image = (
        300 + 900 * (ndimage.gaussian_filter((label | blobs).astype(float), 0.7)) + 120 * rng.normal(size=label.shape)
    )
    label &= ~blobs
    return {
        "image": image.astype(np.float32),
        "labels": label.astype(np.uint8),
        "voxels": np.argwhere(label).astype(np.int32),
    }


def interval(values: list[float]) -> str:
    """Mean and 95 % interval."""
    rng = np.random.default_rng(0)
    means = [np.mean(rng.choice(values, len(values))) for _ in range(2000)]
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]"


def losses(recipe: Any) -> str:
    """Trains, and says how the loss went."""
    with tempfile.TemporaryDirectory() as folder:
        history = omlab_train.fit(recipe, folder=Path(folder), device="cpu", seed=0)
    return f"loss {history[0]['loss']:.3f} -> {history[-1]['loss']:.3f}"


def axons() -> None:
    """The axial network with few channels."""
    network = axial_unet.untrained(TINY)
    batches = AxonBatches(
        axons=tuple(axon_cube(seed) for seed in range(12)),
        artefacts=tuple(axon_cube(100 + seed, axons=0) for seed in range(4)),
        window=(16, 16, 16),
        batch_size=4,
        seed=0,
        mix=0.5,
        match=0.0,
        weaken=True,
        published=False,
        augment=True,
    )

    def figures() -> str:
        network.eval()
        found = []
        for seed in range(1000, 1000 + HELD_OUT):
            cube = axon_cube(seed)
            image = torch.from_numpy((cube["image"] - cube["image"].mean()) / cube["image"].std())
            mask = torch.zeros((SIDE,) * 3)
            with torch.inference_mode():
                for z in (0, 16):
                    for y in (0, 16):
                        for x in (0, 16):
                            part = (slice(z, z + 16), slice(y, y + 16), slice(x, x + 16))
                            mask[part] = network(image[part][None, None]).argmax(dim=1)[0].float()
            assert centre_lines(cube["labels"] > 0).any()
            found.append(score(cube["labels"] > 0, mask.numpy() > 0))
        lines = [float(np.nan_to_num(one.cldice)) for one in found]
        return f"Dice {interval([one.dice for one in found])}, clDice {interval(lines)}"

    settings = {"steps_per_epoch": 30, "epochs": 10, "learning_rate": 0.003}
    before = figures()
    print("axonseg-cube-tiny", losses(AxonRecipe(network, batches, settings=settings, fingerprint="drawn axons")))
    print("  untrained", before)
    print("  trained  ", figures())


PAIRS = 24
BLOBS = 24
"""Units along each axis of a drawn brain, whatever its voxels."""


def brain(seed: int, *, side: int = BLOBS) -> torch.Tensor:
    """A brain of blobs, moved and deformed at random, of `side` voxels along each axis; 0 is the undeformed one."""
    rng = np.random.default_rng(seed)
    shift = rng.uniform(-2, 2, 3) if seed else np.zeros(3)
    waves = [ndimage.gaussian_filter(rng.normal(size=(BLOBS,) * 3), 5) * 40 * (seed > 0) for _ in range(3)]
    step = BLOBS / side
    voxels = np.mgrid[:side, :side, :side] * step
    bends = [ndimage.map_coordinates(wave, voxels, order=1, mode="nearest") for wave in waves]
    z, y, x = (axis + move + bend for axis, move, bend in zip(voxels, shift, bends, strict=True))
    rng = np.random.default_rng(7)
    image = np.zeros(z.shape)
    for (cz, cy, cx), s, weight in zip(
        rng.uniform(6, 18, (9, 3)), rng.uniform(2, 4, 9), rng.uniform(0.3, 1, 9), strict=True
    ):
        image += weight * np.exp(-((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2) / (2 * s**2))
    return torch.from_numpy((image / image.max()).astype(np.float32))[None, None]


def cascade(scale: int) -> Cascade:
    """The network of few channels."""
    return untrained(
        CascadeConfig(
            constraints=("image",),
            affine_fusion=0,
            nonrigid_fusion=0,
            box_filter=5,
            affine_widths=TINY_WIDTHS,
            nonrigid_widths=(8, 16),
            scale=scale,
        )
    )


def trained(network: Cascade, *, side: int, epochs: int, rate: float) -> str:
    """Train every brain to the undeformed one; how the loss went, of an epoch and of pairs that are held out."""

    class Model:
        module, regions = network, ()

    fixed = brain(0, side=side)
    learned, held_out = (
        PairBatches(pairs=tuple(_pair(fixed, seed) for seed in seeds), seed=0)
        for seeds in (range(1, 1 + PAIRS), range(500, 500 + HELD_OUT))
    )
    settings = {"steps": epochs * PAIRS, "steps_per_epoch": PAIRS, "nonrigid_rate": rate, "matrix_rate": 0.001}
    recipe = RegistrationRecipe(
        Model(),  # type: ignore[arg-type]
        learned,
        settings=settings,
        print_="drawn brains",
        validation=held_out,
    )

    def of_held_out() -> float:
        with torch.inference_mode():
            return (recipe.validate() or {})["loss"]

    before = of_held_out()
    return f"{losses(recipe)}, of pairs that are held out {before:.3f} -> {of_held_out():.3f}"


def _pair(fixed: torch.Tensor, seed: int) -> dict[str, dict[str, torch.Tensor]]:
    return {"fixed": {"image": fixed}, "moving": {"image": brain(seed, side=fixed.shape[-1])}}


def registered(network: Cascade, *, side: int) -> tuple[list[float], list[float]]:
    """How well brains of their own lie on the undeformed one: local correlation and squared error of each."""
    network.eval()
    fixed = brain(0, side=side)
    with torch.inference_mode():
        moving = (brain(seed, side=side) for seed in range(1000, 1000 + HELD_OUT))
        warped = [network({"image": fixed}, {"image": one})[-1].warped["image"] for one in moving]
    return (
        [-float(local_correlation(fixed, one)) for one in warped],
        [float((fixed - one).square().mean()) for one in warped],
    )


def told(figures: tuple[list[float], list[float]]) -> str:
    """Means with intervals."""
    return f"local correlation {interval(figures[0])}, squared error {interval(figures[1])}"


def registration() -> None:
    """The cascade with few channels at scale 1, and from there at scale 2, where the new branch alone is trained."""
    low = cascade(1)
    before = registered(low, side=BLOBS)
    print("atlas-registration-tiny", trained(low, side=BLOBS, epochs=8, rate=0.0005))
    print("  untrained", told(before))
    print("  trained  ", told(registered(low, side=BLOBS)), flush=True)
    high, double = cascade(2), 2 * BLOBS
    before = registered(high, side=double)
    high.load_state_dict({**high.state_dict(), **low.state_dict()})
    taken_over = registered(high, side=double)
    print("atlas-registration-tiny, scale 2", trained(high, side=double, epochs=12, rate=0.001))
    after = registered(high, side=double)
    gains = [new - old for new, old in zip(after[0], taken_over[0], strict=True)]
    print("  untrained ", told(before))
    print("  taken over", told(taken_over))
    print("  trained   ", told(after))
    print("  gain of local correlation, brain by brain", interval(gains), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for part in sys.argv[1:] or ["axons", "registration"]:
        {"axons": axons, "registration": registration}[part]()

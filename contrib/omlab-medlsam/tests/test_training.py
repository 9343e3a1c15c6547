"""The recipe: what a batch holds, that the loss bears points that are nowhere, and that it falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from omlab.errors import TrainingError
from omlab.roles import About, Sample
from omlab_medlsam.crops import PairBatches, bent, draw_crop
from omlab_medlsam.losses import gaps_to, similarity_loss
from omlab_medlsam.model import TINY
from omlab_medlsam.network import Features, untrained
from omlab_medlsam.training import relative_distance
from omlab_testkit.held import Held
from omlab_volume.testing import example_volumes

SETTINGS = {"epochs": 2, "steps_per_epoch": 3, "volumes": 1, "points": 3, "learning_rate": 3e-3}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))


def _data(count: int = 2) -> Held:
    samples = [Sample(id=f"{n}", inputs={"volume": volume}) for n, volume in enumerate(example_volumes()[:count])]
    return Held(samples=samples, says=About(inputs={"volume": "volume"}))


def test_places_are_where_the_voxels_of_a_crop_are_from() -> None:
    """Of a ramp each intensity tells its place: that of every deformed voxel is where `places` says."""
    z, y, x = np.indices((50, 60, 55)).astype(np.float32)
    image, told_apart = z + 100 * y + 10_000 * x + 1, 0
    for seed in range(6):
        crop = draw_crop(image, np.random.default_rng([seed]), patch=(32, 32, 32))
        voxel = np.argwhere(crop.original)[0]
        assert crop.original[tuple(voxel)] - 1 == np.add(crop.start, voxel) @ [1, 100, 10_000]
        told = np.tensordot([1.0, 100.0, 10_000.0], crop.places, axes=1) + 1
        inside = np.all([(p > 1) & (p < n - 2) for p, n in zip(crop.places, image.shape, strict=True)], axis=0)
        plain = np.abs(crop.deformed - told)[inside] < 5e-3 * told[inside] + 20
        if crop.deformed.max() > 2:  # else its intensities were bent to [0, 1] and tell no places
            assert plain.mean() > 0.99
            told_apart += 1
    assert told_apart > 1


def test_bent_intensities_rise_between_0_and_1() -> None:
    steps = bent(np.linspace(0, 1, 50, dtype=np.float32), [0.3, 0.5, 0.7])
    assert (np.diff(steps) > 0).all()
    assert 0 < steps[0] < 0.05
    assert 0.95 < steps[-1] < 1


def test_batches_are_a_function_of_seed_and_number() -> None:
    recipe = relative_distance(untrained(TINY), _data(), settings=SETTINGS, seed=1)
    batches = recipe.batches
    assert isinstance(batches, PairBatches)
    first, again, other = batches(4), batches(4), batches(5)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["starts"], other["starts"])
    assert first["original"].shape == first["deformed"].shape == (2, 1, 1, 32, 32, 32)
    assert first["places"].shape == (2, 1, 3, 32, 32, 32)
    assert first["points"].shape == (2, 3, 3)


def test_a_point_that_is_nowhere_leaves_the_loss_finite() -> None:
    generator = torch.Generator().manual_seed(0)
    here, there = (
        Features(*(torch.randn(1, 4, n, n, n, generator=generator).requires_grad_() for n in (4, 8, 16)))
        for _ in range(2)
    )
    points = torch.tensor([[3, 4, 5]])
    grid = 3.0 * torch.stack(torch.meshgrid(*[torch.arange(16.0)] * 3, indexing="ij"))[None]
    for far in (0.0, 1000.0):
        loss = similarity_loss(here, there, gaps_to(3.0 * points[None] + far, grid), points)
        assert torch.isfinite(loss)
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(torch.isfinite(level.grad).all() for level in (*here, *there))


def test_the_loss_falls() -> None:
    """A batch that is seen again and again is learned."""
    recipe = relative_distance(untrained(TINY), _data(1), settings=SETTINGS, seed=0)
    parameters = [parameter for group in recipe.groups() for parameter in group["params"]]
    batch, found = recipe.batches(0), []
    for _ in range(6):
        loss, figures = recipe.loss(batch)
        found.append(float(loss.detach()))
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)  # an optimizer imports torch's compiler
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    parameter -= 3e-3 * gradient.sign()
    assert found[-1] < 0.9 * found[0]
    assert figures["distance_mm"] > 0
    assert figures["similarity"] > 0


def test_data_that_cannot_be_trained_on_are_refused() -> None:
    with pytest.raises(TrainingError, match="training split is empty"):
        relative_distance(untrained(TINY), _data(0), settings=SETTINGS, seed=0)
    two = Held(samples=[], says=About(inputs={"a": "volume", "b": "volume"}))
    with pytest.raises(TrainingError, match="one volume a case"):
        relative_distance(untrained(TINY), two, settings=SETTINGS, seed=0)

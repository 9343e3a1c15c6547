"""Cases from samples, and a task whose batches depend on seed and step alone and from which a network learns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from omlab import progress
from omlab.errors import GeometryError, InputError, TrainingError
from omlab.roles import Sample
from omlab_volume.inference.preprocess import Plan
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.training.segmentation import Case, SegmentationTask, load_cases
from omlab_volume.volume import LabelMap, Volume

PLAN = Plan(spacing=(2.0, 1.5, 1.5), patch_size=(8, 8, 8))


def samples() -> list[Sample]:
    pairs = zip(example_volumes(), example_labelmaps(), strict=True)
    return [Sample(id=f"case-{n}", payload=volume, target=labels) for n, (volume, labels) in enumerate(pairs)]


def case(id: str = "a", *, shape: tuple[int, int, int] = (14, 12, 10), channels: int = 1) -> Case:
    labels = np.zeros(shape, dtype=np.uint8)
    labels[2:7, 3:8, 2:6] = 1
    labels[-3:, -2:, -2:] = 2
    image = np.random.default_rng(0).standard_normal((channels, *shape), dtype=np.float32) * 0.3 + 2 * (labels == 1)
    return Case(id=id, image=image - 2 * (labels == 2), labels=labels)


def cross_entropy(outputs: Sequence[Tensor], labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs[0], labels)


def task(**changes: Any) -> SegmentationTask:
    arguments: dict[str, Any] = {
        "module": nn.Conv3d(1, 3, 1),
        "cases": [case("a"), case("b", shape=(9, 7, 20))],
        "patch_size": (8, 8, 8),
        "batch_size": 3,
        "steps_per_epoch": 5,
        "epochs": 4,
        "learning_rate": 0.01,
        "loss": cross_entropy,
        "seed": 1,
    }
    return SegmentationTask(**{**arguments, **changes})


def test_cases_are_prepared_with_progress() -> None:
    opened: list[tuple[str, int | None]] = []
    steps: list[int] = []

    @contextmanager
    def sink(description: str, total: int | None) -> Iterator[progress.Advance]:
        opened.append((description, total))
        yield lambda n=1, /, **figures: steps.append(n)

    with progress.shown_by(sink):
        cases = load_cases(samples(), PLAN, channels=1)
    assert opened[0] == ("preparing cases", 3)
    assert sum(steps) >= 3
    for found, sample in zip(cases, samples(), strict=True):
        assert found.id == sample.id
        assert found.image.dtype == np.float32
        assert found.image.shape[1:] == found.labels.shape
        assert abs(float(found.image.mean())) < 1e-3
        assert set(np.unique(found.labels)) == {0, 1, 2}
        assert set(found.locations) == {1, 2}
        # The organ is 70 HU and the bone 500 HU above the soft tissue: image and labels lie on one another.
        assert found.image[0][found.labels == 2].mean() > found.image[0][found.labels == 1].mean() + 0.3


def test_label_values_become_class_numbers() -> None:
    first = samples()[0]
    assert isinstance(first.target, LabelMap)
    remote = replace(first.target, array=np.array([0, 300, 12], dtype=np.uint16)[first.target.array])
    (plain,) = load_cases([first], PLAN)
    (mapped,) = load_cases([replace(first, target=remote)], PLAN, classes=[300, 12])
    assert np.array_equal(plain.labels, mapped.labels)
    with pytest.raises(TrainingError, match=r"Case 'case-0' has the label 12, which is not one of the classes \[300\]"):
        load_cases([replace(first, target=remote)], PLAN, classes=[300])


def test_unusable_samples_are_named() -> None:
    first, second, _ = samples()
    target = first.target
    assert isinstance(target, LabelMap)
    empty = replace(target, array=np.zeros_like(target.array))
    moved = replace(target, affine=target.affine + np.eye(4)[:, [1, 2, 3, 0]] * [[0, 0, 0, 5.0]])
    with pytest.raises(TrainingError, match="training split is empty"):
        load_cases([], PLAN)
    with pytest.raises(TrainingError, match=r"Case 'case-0' has no target"):
        load_cases([replace(first, target=None)], PLAN)
    with pytest.raises(TrainingError, match=r"Case 'case-0' has a volume with a volume; .* labelmap as its target"):
        load_cases([replace(first, target=first.payload)], PLAN)
    with pytest.raises(TrainingError, match=r"Case 'case-0' has no labelled voxel"):
        load_cases([replace(first, target=empty)], PLAN)
    with pytest.raises(GeometryError, match=r"Case 'case-0': the labels .* are not on the grid of their image"):
        load_cases([replace(first, target=second.target)], PLAN)
    with pytest.raises(GeometryError, match=r"Case 'case-0'"):
        load_cases([replace(first, target=moved)], PLAN)
    with pytest.raises(InputError, match=r"Case 'case-0': .*takes 2 channel"):
        load_cases([first], PLAN, channels=2)


def test_batches_depend_on_seed_and_step_alone() -> None:
    one, same, other = task(), task(), task(seed=2)
    for step in (3, 0, 3):
        a, b = one.batch(step), same.batch(step)
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["labels"], b["labels"])
    assert not torch.equal(one.batch(0)["image"], one.batch(1)["image"])
    assert not torch.equal(one.batch(0)["image"], other.batch(0)["image"])
    batch = one.batch(0)
    assert batch["image"].shape == (3, 1, 8, 8, 8)
    assert batch["image"].dtype == torch.float32
    assert batch["labels"].shape == (3, 8, 8, 8)
    assert batch["labels"].dtype == torch.int64
    assert not torch.equal(batch["image"][0], batch["image"][1])


def test_augmentation_changes_patches_and_can_be_off() -> None:
    plain = task(augment=False, cases=[case()])
    values = set(plain.cases[0].image.ravel().tolist()) | {0.0}
    changed = 0
    for step in range(6):
        assert set(plain.batch(step)["image"].ravel().tolist()) <= values
        changed += not set(task(cases=[case()]).batch(step)["image"].ravel().tolist()) <= values
    assert changed >= 4


def test_mirror_axes_are_kept_to() -> None:
    labels = np.zeros((8, 8, 8), dtype=np.uint8)
    labels[:, :, :4] = 1
    one = Case(id="side", image=labels[None].astype(np.float32), labels=labels)
    for axes, found in (((0, 1), {True}), ((2,), {True, False})):
        drawn = task(cases=[one], batch_size=1, mirror_axes=axes)
        batches = [drawn.batch(step)["labels"] for step in range(30)]
        # Turned and scaled patches keep their sides too: the turns end at 30 degrees.
        assert {bool((b[..., :4] > 0).sum() > (b[..., 4:] > 0).sum()) for b in batches} == found


def test_a_third_of_the_patches_holds_a_class() -> None:
    labels = np.zeros((60, 60, 60), dtype=np.uint8)
    labels[30, 30, 30] = 1  # a random patch almost never holds it
    lonely = Case(id="lonely", image=np.zeros((1, 60, 60, 60), np.float32), labels=labels)
    drawn = task(cases=[lonely], patch_size=(4, 4, 4), batch_size=300, augment=False).batch(0)
    share = drawn["labels"].flatten(1).any(1).float().mean().item()
    assert share == pytest.approx(1 / 3, abs=0.08)


class Network(nn.Module):
    """Two levels, as deep supervision gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.full, self.coarse = nn.Conv3d(1, 3, 1), nn.Conv3d(1, 3, 2, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.full(x), self.coarse(x)


def test_loss_gets_a_list_of_levels() -> None:
    seen: list[list[tuple[int, ...]]] = []

    def loss(outputs: Sequence[Tensor], labels: Tensor) -> Tensor:
        seen.append([tuple(output.shape) for output in outputs])
        return cross_entropy(outputs, labels)

    for module in (Network(), nn.Conv3d(1, 3, 1)):
        one = task(module=module, loss=loss)
        value, figures = one.loss(one.batch(0))
        assert value.ndim == 0
        assert figures == {}
    assert seen == [[(3, 3, 8, 8, 8), (3, 3, 4, 4, 4)], [(3, 3, 8, 8, 8)]]


def test_a_network_learns() -> None:
    torch.manual_seed(0)
    one = task(steps_per_epoch=30, epochs=2, learning_rate=0.05, momentum=0.9)
    optimizer = one.optimizer()
    losses = []
    for step in range(60):
        for group in optimizer.param_groups:
            group["lr"] = one.learning_rate(step)
        optimizer.zero_grad()
        loss, _ = one.loss(one.batch(step))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


def test_recipe() -> None:
    one = task(steps_per_epoch=5, epochs=4, learning_rate=0.01)
    assert one.max_grad_norm == 12
    rates = [one.learning_rate(step) for step in range(20)]
    assert rates[:5] == [0.01] * 5
    assert rates[5] == pytest.approx(0.01 * 0.75**0.9)
    assert rates[19] == pytest.approx(0.01 * 0.25**0.9)
    (group,) = one.optimizer().param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.99, True, 3e-5)


def test_fingerprint_knows_data_and_settings() -> None:
    reference = task().fingerprint
    assert task().fingerprint == reference
    other = case("a")
    other.labels[0, 0, 0] = 1
    assert task(cases=[other, case("b", shape=(9, 7, 20))]).fingerprint != reference
    for change in ({"patch_size": (8, 8, 4)}, {"augment": False}, {"seed": 9}, {"batch_size": 2}, {"mirror_axes": ()}):
        assert task(**change).fingerprint != reference


def test_refuses_what_cannot_be_trained() -> None:
    for change, message in (
        ({"cases": []}, "no case to train on"),
        ({"cases": [case("a"), case("b", channels=2)]}, r"differ in their number of channels: \[1, 2\]"),
        ({"patch_size": (8, 8)}, r"three numbers of voxels \(z, y, x\), not \[8, 8\]"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ):
        with pytest.raises(TrainingError, match=message):
            task(**change)
    with pytest.raises(TrainingError, match="Case 'x' has an image of shape"):
        Case(id="x", image=np.zeros((1, 2, 2, 2), np.float32), labels=np.ones((2, 2, 3), np.uint8))


def test_payloads_are_not_touched() -> None:
    (sample, *_) = samples()
    assert isinstance(sample.payload, Volume)
    assert isinstance(sample.target, LabelMap)
    before, labels = sample.payload.array.copy(), sample.target.array.copy()
    one = task(cases=load_cases([sample], PLAN))
    for step in range(5):
        one.batch(step)
    assert np.array_equal(sample.payload.array, before)
    assert np.array_equal(sample.target.array, labels)

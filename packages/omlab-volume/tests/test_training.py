"""A recipe whose batches depend on seed and number alone and from which a network learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from omlab.errors import TrainingError
from omlab_train import fit
from omlab_train.batches import batches_ahead
from omlab_train.cache import PreparedCache
from omlab_volume.training.cases import PreparedCase, training_arrays
from omlab_volume.training.segmentation import NNUNET, SegmentationRecipe


def arrays(*, shape: tuple[int, int, int] = (14, 12, 10), channels: int = 1) -> dict[str, Any]:
    labels = np.zeros(shape, dtype=np.uint8)
    labels[2:7, 3:8, 2:6] = 1
    labels[-3:, -2:, -2:] = 2
    image = np.random.default_rng(0).standard_normal((channels, *shape), dtype=np.float32) * 0.3 + 2 * (labels == 1)
    return training_arrays(image - 2 * (labels == 2), labels, id="a")


def case(id: str = "a", **changes: Any) -> PreparedCase:
    return PreparedCase(id=id, arrays=arrays(**changes))


def cross_entropy(outputs: Sequence[Tensor], labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs[0], labels)


def recipe(**changes: Any) -> SegmentationRecipe:
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
    return SegmentationRecipe(**{**arguments, **changes})


def test_batches_depend_on_seed_and_number_alone() -> None:
    one, same, other = recipe(), recipe(), recipe(seed=2)
    for number in (3, 0, 3):
        a, b = one.batches(number), same.batches(number)
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["labels"], b["labels"])
    assert not torch.equal(one.batches(0)["image"], one.batches(1)["image"])
    assert not torch.equal(one.batches(0)["image"], other.batches(0)["image"])
    batch = one.batches(0)
    assert batch["image"].shape == (3, 1, 8, 8, 8)
    assert batch["image"].dtype == torch.float32
    assert batch["labels"].shape == (3, 8, 8, 8)
    assert batch["labels"].dtype == torch.int64
    assert not torch.equal(batch["image"][0], batch["image"][1])


def test_cached_cases_and_worker_processes_give_the_same_batches(tmp_path: Path) -> None:
    shapes: dict[str, tuple[int, int, int]] = {"a": (14, 12, 10), "b": (9, 7, 20)}

    def cached(id: str) -> PreparedCase:
        entry = PreparedCache(tmp_path).get(f"{id * 16}", lambda: arrays(shape=shapes[id]))
        return PreparedCase(id=id, arrays=entry)

    held, mapped = recipe(), recipe(cases=[cached("a"), cached("b")])
    assert mapped.fingerprint == held.fingerprint
    with batches_ahead(mapped.batches, range(4), workers=1, pinned=False) as batches:
        for number, batch in enumerate(batches):
            assert torch.equal(batch["image"], held.batches(number)["image"])
            assert torch.equal(batch["labels"], held.batches(number)["labels"])
    assert number == 3


def test_augmentation_changes_patches_and_can_be_off() -> None:
    plain, changing = recipe(augment=False, cases=[case()]), recipe(cases=[case()])
    values = set(case().image.ravel().tolist()) | {0.0}
    changed = 0
    for number in range(6):
        assert set(plain.batches(number)["image"].ravel().tolist()) <= values
        changed += not set(changing.batches(number)["image"].ravel().tolist()) <= values
    assert changed >= 4


def test_mirror_axes_are_kept_to() -> None:
    labels = np.zeros((8, 8, 8), dtype=np.uint8)
    labels[:, :, :4] = 1
    one = PreparedCase(id="side", arrays=training_arrays(labels[None], labels, id="side"))
    for axes, found in (((0, 1), {True}), ((2,), {True, False})):
        drawn = recipe(cases=[one], batch_size=1, mirror_axes=axes)
        batches = [drawn.batches(number)["labels"] for number in range(30)]
        # Turned and scaled patches keep their sides too: the turns end at 30 degrees.
        assert {bool((b[..., :4] > 0).sum() > (b[..., 4:] > 0).sum()) for b in batches} == found


def test_a_third_of_the_patches_holds_a_class() -> None:
    labels = np.zeros((60, 60, 60), dtype=np.uint8)
    labels[30, 30, 30] = 1  # a random patch almost never holds it
    lonely = PreparedCase(id="lonely", arrays=training_arrays(np.zeros((1, 60, 60, 60)), labels, id="lonely"))
    drawn = recipe(cases=[lonely], patch_size=(4, 4, 4), batch_size=300, augment=False).batches(0)
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
        one = recipe(module=module, loss=loss)
        value, figures = one.loss(one.batches(0))
        assert value.ndim == 0
        assert figures == {}
    assert seen == [[(3, 3, 8, 8, 8), (3, 3, 4, 4, 4)], [(3, 3, 8, 8, 8)]]


def test_a_network_learns(tmp_path: Path) -> None:
    torch.manual_seed(0)
    one = recipe(steps_per_epoch=10, epochs=6, learning_rate=0.05, how=replace(NNUNET, momentum=0.9))
    rows = fit(one, folder=tmp_path, device="cpu", seed=0)
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]


def test_the_recipe_is_nnunets() -> None:
    one = recipe(steps_per_epoch=5, epochs=4, learning_rate=0.01)
    assert (one.steps, one.epoch) == (20, 5)
    rates = [0.01 * one.schedule(step) for step in range(20)]
    assert rates[:5] == [0.01] * 5
    assert rates[5] == pytest.approx(0.01 * 0.75**0.9)
    assert rates[19] == pytest.approx(0.01 * 0.25**0.9)
    (group,) = one.groups()
    assert (group["lr"], group["weight_decay"]) == (0.01, 3e-5)
    assert [parameter.shape for parameter in group["params"]] == [p.shape for p in one.module.parameters()]
    assert (one.how.optimizer, one.how.momentum, one.how.nesterov, one.how.max_grad_norm) == ("sgd", 0.99, True, 12)
    assert one.validate() is None


def test_fingerprint_knows_data_and_settings() -> None:
    reference = recipe().fingerprint
    assert recipe().fingerprint == reference
    labels = case("a").labels.copy()
    labels[0, 0, 0] = 1
    other = PreparedCase(id="a", arrays=training_arrays(case("a").image, labels, id="a"))
    assert recipe(cases=[other, case("b", shape=(9, 7, 20))]).fingerprint != reference
    for change in ({"patch_size": (8, 8, 4)}, {"augment": False}, {"seed": 9}, {"batch_size": 2}, {"mirror_axes": ()}):
        assert recipe(**change).fingerprint != reference


def test_refuses_what_cannot_be_trained() -> None:
    for change, message in (
        ({"cases": []}, "no case to train on"),
        ({"cases": [case("a"), case("b", channels=2)]}, r"differ in their number of channels: \[1, 2\]"),
        ({"patch_size": (8, 8)}, r"three numbers of voxels \(z, y, x\), not \[8, 8\]"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ):
        with pytest.raises(TrainingError, match=message):
            recipe(**change)

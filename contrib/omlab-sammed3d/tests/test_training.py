from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omlab_train.task import TrainingTask

from omlab.errors import GeometryError, InputError, TrainingError
from omlab.roles import Sample
from omlab_sammed3d.model import TINY
from omlab_sammed3d.network import untrained
from omlab_sammed3d.predictor import Predictor
from omlab_sammed3d.training import ROUNDS, ClickTask, click_loss, drawn_click
from omlab_sammed3d.windows import crop_start
from omlab_testkit import golden
from omlab_train import fit
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import Label, LabelMap, Volume

RECORDED = json.loads((Path(__file__).parent / "golden" / "algorithms.json").read_text())


def recorded(spec: dict[str, Any]) -> np.ndarray:
    drawn = golden.uniform(int(np.prod(spec["shape"])), salt=spec["salt"], name=spec["name"]).reshape(spec["shape"])
    return drawn * (spec["high"] - spec["low"]) + spec["low"] if "low" in spec else drawn


def phantom() -> Sample:
    """A bright ball off the middle."""
    apart = np.stack(np.indices((32, 32, 32)), axis=-1) - np.array((14, 17, 16))
    truth = np.linalg.norm(apart, axis=-1) < 7
    array = 50 + 100 * truth + np.random.default_rng(0).normal(size=truth.shape, scale=10)
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    target = LabelMap(array=truth.astype(np.uint8), affine=affine, labels=[Label(value=1, name="ball")])
    return Sample(id="ball", payload=Volume(array=array[None].astype(np.float32), affine=affine), target=target)


def task(*samples: Sample, **changes: Any) -> ClickTask:
    network = untrained(TINY)
    arguments: dict[str, Any] = {
        "network": network,
        "samples": samples or [phantom()],
        "prepare": Predictor(network).prepare,
        "spacing": 1.5,
        "batch_size": 2,
        "steps_per_epoch": 10,
        "epochs": 10,
        "learning_rate": 0.01,
        "flip": True,
        "seed": 0,
    }
    return ClickTask(**arguments | changes)


def test_the_loss_is_the_recorded_one() -> None:
    case = RECORDED["dice_ce_loss"]
    logits = torch.from_numpy(recorded(case["pred"])).float()
    truth = torch.from_numpy(recorded(case["gt"]) < 0.3).long()[:, 0]
    assert click_loss(logits, truth).item() == pytest.approx(case["total"], rel=1e-5)


def test_the_clicks_are_the_recorded_ones() -> None:
    spec = RECORDED["click_training"]
    mask = torch.from_numpy(recorded(spec["prev"])[0, 0] > 0.5)
    truth = torch.from_numpy(recorded(spec["gt"])[0, 0] < 0.4).long()
    for case in spec["cases"]:
        place, label = drawn_click(mask, truth, torch.tensor((case["draw"] + 0.5) / spec["error_voxels"]))
        assert (place.tolist(), int(label)) == (case["point"], case["label"])


def test_a_perfect_mask_is_clicked_in_the_object() -> None:
    truth = torch.zeros(3, 3, 3).long()
    truth[1, 2, 0] = 1
    place, label = drawn_click(truth > 0, truth, torch.tensor(0.999))
    assert (place.tolist(), int(label)) == ([1, 2, 0], 1)


@pytest.mark.parametrize("case", RECORDED["crop_to_label"]["cases"])
def test_the_cube_around_an_object_is_the_recorded_one(case: dict[str, Any]) -> None:
    side = RECORDED["crop_to_label"]["target"]
    low, high = np.array(case["label_box"]).T
    start = crop_start(low, high - 1, side=side)
    padding, cropping = np.array(case["padding"]).reshape(3, 2), np.array(case["cropping"]).reshape(3, 2)
    shape = np.array(case["shape"])
    np.testing.assert_array_equal(np.maximum(-start, 0), padding[:, 0])
    np.testing.assert_array_equal(np.maximum(start + side - shape, 0), padding[:, 1])
    np.testing.assert_array_equal(np.maximum(start, 0), cropping[:, 0])
    np.testing.assert_array_equal(np.maximum(shape - start - side, 0), cropping[:, 1])


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    first, again, other = task(), task(), task(seed=1)
    for step in (0, 7):
        one, two, three = first.batch(step), again.batch(step), other.batch(step)
        assert all(np.array_equal(one[name], two[name]) for name in one)
        assert not torch.equal(one["draws"], three["draws"])
    assert one["image"].shape == (2, 1, 32, 32, 32)
    assert one["truth"].shape == (2, 32, 32, 32)
    assert one["draws"].shape == (2, ROUNDS)
    assert {first.batch(step)["mask_round"] for step in range(60)} == set(range(2, 9))


def test_image_and_truth_are_flipped_together() -> None:
    flipped = task(batch_size=8)
    batch = flipped.batch(0)
    assert len({tuple(truth.nonzero().min(dim=0).values.tolist()) for truth in batch["truth"]}) > 1
    for image, truth in zip(batch["image"][:, 0], batch["truth"], strict=True):
        assert image[truth > 0].mean() > image[truth == 0].mean() + 2
    still = task(batch_size=8, flip=False).batch(0)["truth"]
    assert all(torch.equal(truth, still[0]) for truth in still)


def test_volumes_are_resampled_and_every_label_is_an_object() -> None:
    samples = [
        Sample(id=f"{n}", payload=volume, target=target)
        for n, (volume, target) in enumerate(zip(example_volumes(), example_labelmaps(), strict=True))
    ]
    trained = task(*samples, spacing=1.0)
    assert {(case, value) for case, value, _ in trained.objects} == {(n, v) for n in range(3) for v in (1, 2)}
    assert trained.images[0].shape == trained.labels[0].shape == (33, 27, 40)


def test_a_tiny_network_learns_a_phantom_and_gets_better_after_any_number_of_clicks() -> None:
    trained = task(batch_size=1, flip=False, steps_per_epoch=40, epochs=1)
    optimizer = trained.optimizer()
    batches = [trained.batch(step) for step in range(40)]
    with torch.no_grad():
        before = trained.module(**batches[0])
    trained.module.train()
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = trained.learning_rate(step)
        optimizer.zero_grad()
        loss, figures = trained.loss(batch)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        after = trained.module(**batches[0])
    assert (after[0] < 0.3 * before[0]).all()  # of every round
    assert (after[1] > before[1] + 0.5).all()
    assert figures["dice_last"] > 0.75


def test_the_loop_trains_it_and_goes_on_from_where_it_stopped(tmp_path: Path) -> None:
    whole: TrainingTask = task(epochs=2, steps_per_epoch=1, batch_size=1)
    history = fit(whole, folder=tmp_path / "whole", device="cpu", seed=0)
    assert {"loss", "dice_first", "dice_last"} <= history[0].keys()

    halted = task(epochs=2, steps_per_epoch=1, batch_size=1)
    batch = halted.batch

    def fails(step: int) -> dict[str, Any]:
        if step == 1:
            raise KeyboardInterrupt
        return batch(step)

    halted.batch = fails  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        fit(halted, folder=tmp_path / "halted", device="cpu", seed=0)
    resumed = task(epochs=2, steps_per_epoch=1, batch_size=1)
    again = fit(resumed, folder=tmp_path / "halted", device="cpu", seed=0)
    assert [row["loss"] for row in again] == [row["loss"] for row in history]
    states = [trained.module.state_dict() for trained in (whole, resumed)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_the_chain_of_logits_carries_gradients_to_the_first_round() -> None:
    trained = task(batch_size=1)
    batch = trained.batch(0)
    losses, _ = trained.module(**batch)
    (alone,) = torch.autograd.grad(losses[0], trained.module.network.mask_decoder.mask_tokens.weight, retain_graph=True)
    (last,) = torch.autograd.grad(losses[-1], trained.module.network.prompt_encoder.not_a_point_embed.weight)
    assert alone.abs().sum() > 0
    assert last.abs().sum() > 0  # the last round has no click: only the rounds before it know that embedding


def test_each_part_learns_at_its_own_rate() -> None:
    trained = task(batch_size=1)
    optimizer = trained.optimizer()
    before = {name: p.detach().clone() for name, p in trained.module.network.named_parameters()}
    trained.loss(trained.batch(0))[0].backward()
    optimizer.step()
    moved = {
        part: max(
            float((p.detach() - before[name]).abs().max())
            for name, p in trained.module.network.named_parameters()
            if name.startswith(part)
        )
        for part in ("image_encoder", "prompt_encoder", "mask_decoder")
    }
    assert moved["image_encoder"] == pytest.approx(0.01, rel=0.5)  # Adam's first step is the rate, and weights decay
    assert moved["prompt_encoder"] == pytest.approx(0.001, rel=0.5)
    assert moved["mask_decoder"] == pytest.approx(0.001, rel=0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.01}


def test_the_learning_rate_drops_twice() -> None:
    trained = task(epochs=200, steps_per_epoch=3, learning_rate=8e-4)
    rates = [trained.learning_rate(epoch * 3) for epoch in (0, 119, 120, 179, 180, 199)]
    assert rates == pytest.approx([8e-4, 8e-4, 8e-5, 8e-5, 8e-6, 8e-6])


def test_the_fingerprint_is_of_data_and_settings() -> None:
    other = phantom()
    assert isinstance(other.payload, Volume)
    other = replace(other, payload=other.payload.with_array(other.payload.array + 1))
    prints = [task().fingerprint, task().fingerprint, task(flip=False).fingerprint, task(other).fingerprint]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"target": None}, TrainingError, "'ball' is not a volume with a label map"),
        ({"target": example_labelmaps()[0]}, GeometryError, "'ball': the labels .* are not on the grid"),
        ({"payload": example_volumes(channels=2)[0], "target": example_labelmaps()[0]}, InputError, "'ball': .*has 2"),
    ],
)
def test_cases_that_cannot_be_used_are_one_sentence(change: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        task(replace(phantom(), **change))


def test_objects_of_few_voxels_are_left_out() -> None:
    sample = phantom()
    assert isinstance(sample.target, LabelMap)
    array = np.zeros_like(sample.target.array)
    array[:2, :2, :3] = 1
    with pytest.raises(TrainingError, match=r"No label has more than 16 voxels in a cube of 32\^3"):
        task(replace(sample, target=replace(sample.target, array=array)))

from __future__ import annotations

import json
import re
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from omlab.errors import GeometryError, InputError, OmlabError, TrainingError
from omlab.models import ModelBase, find_model, load_adapter
from omlab.roles import Sample, Trainable
from omlab_prompts.prompts import Object, Point, Prompts
from omlab_sammed3d.model import TINY
from omlab_sammed3d.network import untrained
from omlab_sammed3d.training import ROUNDS, ClickRecipe, click_loss, click_recipe, drawn_click
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
    volume = Volume(array=array[None].astype(np.float32), affine=affine)
    return Sample(id="ball", inputs={"volume": volume}, target=target)


def balls() -> list[Sample]:
    """Two balls in each of three images of other shapes, spacings and axes: what `CURVE` was recorded on."""
    samples = []
    affines = (
        np.diag([1.5, 1.5, 1.5, 1.0]),
        np.array([[-1.2, 0, 0, 40], [0, -1.2, 0, 9], [0, 0, 2.5, -7], [0, 0, 0, 1.0]]),
        np.array([[0, 0, 2.0, -3], [-1.0, 0, 0, 5], [0, 1.2, 0, 0], [0, 0, 0, 1.0]]),
    )
    for n, (affine, shape) in enumerate(zip(affines, ((32, 32, 32), (44, 36, 20), (30, 40, 24)), strict=True)):
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        middle = np.array(shape) / 2 + np.array([2, -1, 1]) * n
        apart = np.stack(np.indices(shape), axis=-1) - middle
        labels = (np.linalg.norm(apart * spacing, axis=-1) < 12).astype(np.uint8)
        labels[np.linalg.norm((apart - np.array([6, 3, 2])) * spacing, axis=-1) < 9] = 2
        noise = np.random.default_rng(n).normal(size=shape, scale=10)
        array = (50 + np.array([0, 100.0, 160.0])[labels] + noise)[None].astype(np.float32)
        target = LabelMap(array=labels, affine=affine)
        samples.append(Sample(id=f"{n}", inputs={"volume": Volume(array=array, affine=affine)}, target=target))
    return samples


CURVE = [
    (17.144505500793457, 0.05034999921917915),
    (16.887486457824707, 0.019922006875276566),
    (16.426570892333984, 0.007968614576384425),
    (15.855828285217285, 0.0),
    (15.252395629882812, 0.0),
    (14.67006778717041, 0.0008849557489156723),
    (14.601085662841797, 0.014418126083910465),
    (14.375354766845703, 0.0),
    (13.909287452697754, 0.037812044844031334),
    (14.339492797851562, 0.020591402426362038),
]
"""Loss and last Dice of ten epochs of two steps of the first form of this training (commit 645ed60), on an AMD EPYC."""


@pytest.fixture
def recipe(held: Any) -> Any:
    """Makes the recipe of a tiny network for samples (the phantom), with changes."""

    def made(*samples: Sample, data: Any = None, **changes: Any) -> ClickRecipe:
        arguments: dict[str, Any] = {
            "spacing": 1.5,
            "cubes": 2,
            "steps_per_epoch": 10,
            "epochs": 10,
            "learning_rate": 0.01,
            "flip": True,
            "seed": 0,
        }
        return click_recipe(untrained(TINY), data or held(samples=samples or [phantom()]), **arguments | changes)

    return made


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


def test_a_batch_is_a_function_of_seed_and_step_also_in_another_process(recipe: Any) -> None:
    first, again, other = (recipe(seed=seed).batches for seed in (0, 0, 1))
    sent = bytes(ForkingPickler.dumps(first))
    elsewhere = ForkingPickler.loads(sent)
    for step in (0, 7):
        one, two, three = first(step), again(step), other(step)
        assert all(np.array_equal(one[name], two[name]) for name in one)
        assert all(np.array_equal(one[name], value) for name, value in elsewhere(step).items())
        assert not torch.equal(one["draws"], three["draws"])
    assert one["image"].shape == (2, 1, 32, 32, 32)
    assert one["truth"].shape == (2, 32, 32, 32)
    assert one["draws"].shape == (2, ROUNDS)
    assert {first(step)["mask_round"] for step in range(60)} == set(range(2, 9))
    assert len(sent) < 2000  # no voxel travels


def test_image_and_truth_are_flipped_together(recipe: Any) -> None:
    batch = recipe(cubes=8).batches(0)
    assert len({tuple(truth.nonzero().min(dim=0).values.tolist()) for truth in batch["truth"]}) > 1
    for image, truth in zip(batch["image"][:, 0], batch["truth"], strict=True):
        assert image[truth > 0].mean() > image[truth == 0].mean() + 2
    still = recipe(cubes=8, flip=False).batches(0)["truth"]
    assert all(torch.equal(truth, still[0]) for truth in still)


def examples() -> list[Sample]:
    pairs = zip(example_volumes(), example_labelmaps(), strict=True)
    return [Sample(id=f"{n}", inputs={"volume": volume}, target=target) for n, (volume, target) in enumerate(pairs)]


def test_volumes_are_resampled_and_every_label_is_an_object(recipe: Any, held: Any) -> None:
    batches = recipe(*examples(), spacing=1.0).batches
    assert {(found.case, found.value) for found in batches.objects} == {(n, v) for n in range(3) for v in (1, 2)}
    assert batches.entries[0]["image"].shape == batches.entries[0]["labels"].shape == (33, 27, 40)
    some = recipe(data=held(samples=examples(), ignored=[2]), spacing=1.0).batches
    assert {(found.case, found.value) for found in some.objects} == {(n, 1) for n in range(3)}


def test_what_is_not_annotated_takes_no_part(recipe: Any, held: Any) -> None:
    sample = phantom()
    target = cast(LabelMap, sample.target)
    array = target.array.copy()
    array[20:] = 255
    data = held(samples=[replace(sample, target=replace(target, array=array))], ignored=[255], name="partly")
    trained = recipe(data=data, cubes=2)
    batch = trained.batches(0)
    left_out = batch["left_out"]
    assert 0 < left_out.float().mean() < 1
    assert not batch["truth"][left_out].any()
    captured: list[Tensor] = []

    def upsampled(low: Tensor) -> Tensor:
        captured.append(type(trained.network).upsample(trained.network, low))
        captured[-1].retain_grad()
        return captured[-1]

    trained.network.upsample = upsampled
    losses, _ = trained.module(**batch)
    losses.sum().backward()
    for logits in captured:
        assert logits.grad is not None
        assert not logits.grad[:, 0][left_out].any()
        assert logits.grad[:, 0][~left_out].any()


def test_a_case_is_prepared_once(recipe: Any, held: Any) -> None:
    read: list[str] = []

    class Watched:
        id, group, files = "ball", None, {}

        def load(self) -> Sample:
            read.append(self.id)
            return phantom()

    class Data(type(held(samples=[]))):  # type: ignore[misc]
        def cases(self, split: str) -> list[Watched]:
            return [Watched()]

    for spacing in (1.5, 1.5, 2.0):
        recipe(data=Data(samples=[], says=held(samples=[]).says), spacing=spacing)
    assert len(read) == 2  # again at another spacing


def test_a_tiny_network_learns_a_phantom_and_gets_better_after_any_number_of_clicks(recipe: Any) -> None:
    trained = recipe(cubes=1, flip=False, steps_per_epoch=25, epochs=1)
    optimizer = torch.optim.AdamW(trained.groups())
    batches = [trained.batches(step) for step in range(25)]
    with torch.no_grad():
        before = trained.module(**batches[0])
    trained.module.train()
    for batch in batches:
        optimizer.zero_grad()
        loss, figures = trained.loss(batch)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        after = trained.module(**batches[0])
    assert (after[0] < 0.5 * before[0]).all()  # of every round
    assert (after[1] > before[1] + 0.5).all()
    assert figures["dice_last"] > 0.65


def test_the_losses_are_those_of_the_first_form(recipe: Any, tmp_path: Path) -> None:
    trained = recipe(*balls(), steps_per_epoch=2, epochs=10, seed=5)
    history = fit(trained, folder=tmp_path / "work", device="cpu", seed=5)
    # the same bit for bit on the machine that recorded them; others add up in another order
    assert [row["loss"] for row in history] == pytest.approx([loss for loss, _ in CURVE], rel=1e-3)
    assert [row["dice_last"] for row in history] == pytest.approx([dice for _, dice in CURVE], abs=1e-2)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_loop_trains_it_and_goes_on_from_where_it_stopped(recipe: Any, tmp_path: Path, workers: int) -> None:
    whole = recipe(epochs=2, steps_per_epoch=1, cubes=1)
    history = fit(whole, folder=tmp_path / "whole", device="cpu", seed=0)
    assert {"loss", "dice_first", "dice_last"} <= history[0].keys()

    halted = recipe(epochs=2, steps_per_epoch=1, cubes=1)
    loss = halted.loss

    def fails(batch: Any) -> Any:
        if len(list(tmp_path.glob("halted/*"))):  # the checkpoint of the first epoch
            raise KeyboardInterrupt
        return loss(batch)

    halted.loss = fails
    with pytest.raises(KeyboardInterrupt):
        fit(halted, folder=tmp_path / "halted", device="cpu", seed=0)
    resumed = recipe(epochs=2, steps_per_epoch=1, cubes=1)
    again = fit(resumed, folder=tmp_path / "halted", device="cpu", seed=0, workers=workers)
    assert [row["loss"] for row in again] == [row["loss"] for row in history]
    states = [trained.module.state_dict() for trained in (whole, resumed)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_the_chain_of_logits_carries_gradients_to_the_first_round(recipe: Any) -> None:
    trained = recipe(cubes=1)
    losses, _ = trained.module(**trained.batches(0))
    network = trained.module.network
    (alone,) = torch.autograd.grad(losses[0], network.mask_decoder.mask_tokens.weight, retain_graph=True)
    (last,) = torch.autograd.grad(losses[-1], network.prompt_encoder.not_a_point_embed.weight)
    assert alone.abs().sum() > 0
    assert last.abs().sum() > 0  # the last round has no click: only the rounds before it know that embedding


def test_each_part_learns_at_its_own_rate(recipe: Any) -> None:
    trained = recipe(cubes=1)
    optimizer = torch.optim.AdamW(trained.groups())
    before = {name: p.detach().clone() for name, p in trained.module.network.named_parameters()}
    trained.loss(trained.batches(0))[0].backward()
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
    known = {parameter for group in trained.groups() for parameter in group["params"]}
    assert known == set(trained.module.parameters())


def test_what_is_without_a_gradient_is_what_the_loop_is_told_of(recipe: Any) -> None:
    trained = recipe(cubes=1)
    trained.loss(trained.batches(0))[0].backward()
    without = {name for name, parameter in trained.module.network.named_parameters() if parameter.grad is None}
    assert {name.rpartition(".layers")[0] or name for name in without} == {
        "mask_decoder.iou_prediction_head",
        "prompt_encoder.no_mask_embed.weight",
        "prompt_encoder.point_embeddings.2.weight",
        "prompt_encoder.point_embeddings.3.weight",
    }
    assert trained.how.find_unused_parameters


def test_the_learning_rate_drops_twice(recipe: Any) -> None:
    trained = recipe(epochs=200, steps_per_epoch=3, learning_rate=8e-4)
    factors = [trained.schedule(epoch * 3) for epoch in (0, 119, 120, 179, 180, 199)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert [group["lr"] for group in trained.groups()] == pytest.approx([8e-4, 8e-5, 8e-5])
    assert trained.steps == 600


def test_the_fingerprint_is_of_data_and_settings(recipe: Any, held: Any) -> None:
    other = held(samples=[phantom()], name="other")
    made = [recipe(), recipe(), recipe(flip=False), recipe(data=other), recipe(spacing=2.0), recipe(seed=1)]
    prints = [each.fingerprint for each in made]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 5


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"target": None}, TrainingError, "'ball' is not a volume with a label map"),
        ({"target": example_labelmaps()[0]}, GeometryError, "'ball': the labels .* are not on the grid"),
        (
            {"inputs": {"volume": example_volumes(channels=2)[0]}, "target": example_labelmaps()[0]},
            InputError,
            "'ball': .*has 2",
        ),
    ],
)
def test_cases_that_cannot_be_used_are_one_sentence(
    recipe: Any, change: dict[str, Any], error: type[OmlabError], words: str
) -> None:
    with pytest.raises(error, match=words):
        recipe(replace(phantom(), **change))


def test_objects_of_few_voxels_are_left_out(recipe: Any, held: Any) -> None:
    target = cast(LabelMap, phantom().target)
    array = np.zeros_like(target.array)
    array[:2, :2, :3] = 1
    with pytest.raises(TrainingError, match=r"No label has more than 16 voxels in a cube of 32\^3"):
        recipe(data=held(samples=[replace(phantom(), target=replace(target, array=array))], name="few"))


@pytest.mark.parametrize(
    ("adapter", "given", "parts"),
    [
        ("finetune", {}, {"image_encoder", "prompt_encoder", "mask_decoder"}),
        ("finetune", {"part": "head"}, {"prompt_encoder", "mask_decoder"}),
        ("lora", {"rank": 2}, {"image_encoder", "mask_decoder"}),
    ],
)
def test_an_adapter_trains_it_and_gives_it_back(
    held: Any, tmp_path: Path, adapter: str, given: dict[str, Any], parts: set[str]
) -> None:
    base = ModelBase(find_model("sammed3d-tiny.untrained", device="cpu"))
    trainer = load_adapter(adapter, given)[1]
    settings = {"epochs": 1, "steps_per_epoch": 2, "cubes": 1, "learning_rate": 0.01, "augment": False}
    chosen = {**settings, "cube_size": 24, "cube_spacing": 2.0}
    data = held(samples=[phantom()])
    done = trainer.fit(base, data, recipe="clicks", settings=chosen, seed=0, folder=tmp_path)
    assert len(done.history) == 1
    adapted = trainer.restore(base, config=json.loads(json.dumps(done.config)), tensors=done.tensors)
    module: nn.Module = cast(Trainable, adapted).module
    before: dict[str, Tensor] = base.trainable().module.state_dict()
    moved = {
        name
        for name, value in module.state_dict().items()
        if value.shape == before[name].shape and not torch.equal(value, before[name])
    }
    assert {name.split(".")[0] for name in moved} == parts
    if adapter == "lora":  # an addition to every linear layer but those of the masks and IoUs that are not trained
        untrained_heads = re.compile(r"mask_decoder\.(iou_prediction_head|output_hypernetworks_mlps\.[1-3])\.")
        linear = {f"{name}.weight" for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
        assert {name for name in linear if not untrained_heads.match(name)} == moved
    assert cast(Any, adapted).spacing == 2.0
    volume = cast(Volume, phantom().inputs["volume"])
    click = Point(at=(14, 17, 16))
    prompts = Prompts(space="voxel", image="ball", objects=(Object(name="ball", points=(click,)),))
    (labels,) = cast(Any, adapted).predict([{"volume": volume, "prompts": prompts}])
    assert labels.same_grid(volume)

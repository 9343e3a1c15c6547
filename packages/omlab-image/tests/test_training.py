"""Recipes: batches by seed and number alone, rates and groups as published, and that they learn."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omlab_image_toys import (
    CLASSIFIER_LAYERS,
    NAMES,
    SEGMENTER_LAYERS,
    SIZE,
    Drawn,
    DrawnCase,
    Filler,
    classifier,
    segmenter,
)
from torch import Tensor
from torch.nn import functional

from omlab.errors import InputError, SettingsError, TrainingError
from omlab_image import Image
from omlab_image.testing import example_images, example_labelmaps
from omlab_image.training import ClassificationRecipe, Course, SegmentationRecipe, SelfSupervisedRecipe
from omlab_image.training.cases import class_target, label_numbers
from omlab_image.training.classification import class_loss
from omlab_image.training.course import half_cosine
from omlab_image.training.measure import auc
from omlab_image.training.mixing import Mixing
from omlab_image.training.paired import Paired
from omlab_image.transforms import evaluation, pretraining, training
from omlab_payloads.testing import example_classes
from omlab_testkit.example_data import example_data
from omlab_train import fit
from omlab_train.order import Order, balanced

FAST = {"epochs": 6, "batch_size": 4, "learning_rate": 1.0, "weight_decay": 0.0}


def _classification(data: Drawn | None = None, *, seed: int = 0, names: Any = NAMES, **settings: Any) -> Any:
    return ClassificationRecipe(
        module=classifier(len(names)),
        layers=CLASSIFIER_LAYERS,
        data=Drawn() if data is None else data,
        classes=names,
        augment=training(SIZE, scale=(0.5, 1.0), auto_augment="rand-m3-n1"),
        prepare=evaluation(SIZE, crop=1.0),
        settings={**FAST, **settings},
        seed=seed,
    )


def _segmentation(**more: Any) -> Any:
    return SegmentationRecipe(
        **{
            "module": segmenter(),
            "layers": SEGMENTER_LAYERS,
            "data": Drawn(target="labelmap-2d"),
            "classes": (2, 5),
            "pair": Paired(size=SIZE),
            "settings": {**FAST, "learning_rate": 2.0},
            "seed": 0,
            **more,
        }
    )


def _self_supervised(**more: Any) -> Any:
    settings = {**FAST, "learning_rate": 0.3, "warmup_epochs": 1}
    return SelfSupervisedRecipe(
        **{
            "module": Filler(),
            "data": Drawn(target="", val=4),
            "views": pretraining(SIZE),
            "settings": settings,
            "seed": 0,
            **more,
        }
    )


ALL = (_classification, _segmentation, _self_supervised)


@pytest.mark.parametrize("make", ALL)
def test_recipes_learn(make: Any, tmp_path: Path) -> None:
    recipe = make()
    history = fit(recipe, folder=tmp_path, device="cpu", seed=0)
    assert len(history) == 6
    assert history[-1]["loss"] < history[0]["loss"]
    figures = {name for name in history[0] if name.startswith("val_")}
    if make is _classification:
        assert figures == {"val_loss", "val_accuracy", "val_auc"}
        assert history[-1]["val_auc"] > 0.9
    elif make is _segmentation:
        assert figures == {"val_dice"}
        assert history[-1]["val_dice"] > history[0]["val_dice"]
    else:
        assert figures == {"val_loss", "val_whole"}
        assert history[-1]["val_loss"] < history[0]["val_loss"]


@pytest.mark.parametrize("make", ALL)
def test_batches_are_a_function_of_seed_and_number(make: Any) -> None:
    batches = make().batches
    assert batches.draws_globally
    sent = ForkingPickler.loads(ForkingPickler.dumps(batches))
    for number in (5, 0):
        first, again, elsewhere = batches(number), batches(number), sent(number)
        for name in first:
            assert torch.equal(first[name], again[name])
            assert torch.equal(first[name], elsewhere[name])
    name = next(iter(batches(0)))
    assert not torch.equal(batches(0)[name], batches(1)[name])
    assert not torch.equal(batches(0)[name], make(seed=1).batches(0)[name])


@pytest.mark.parametrize("make", ALL)
def test_the_fingerprint_is_of_what_is_trained_on(make: Any) -> None:
    assert make().fingerprint == make().fingerprint
    assert make().fingerprint != make(seed=1).fingerprint
    if make is _classification:
        others = [
            {"mixup": 0.8},
            {"label_smoothing": 0.1},
            {"balanced": True},
            {"epochs": 7},
            {"data": Drawn(train=17)},
        ]
        assert len({make(**other).fingerprint for other in [{}, *others]}) == 6


def test_every_case_is_seen_once_an_epoch() -> None:
    order = Order(count=7, seed=3)
    for epoch in range(4):
        assert sorted(order(epoch * 7 + place)[0] for place in range(7)) == list(range(7))
    assert [order(place)[0] for place in range(7)] != [order(7 + place)[0] for place in range(7)]
    assert len({order(place)[1] for place in range(100)}) == 100


def test_balanced_draws_give_every_class_its_share() -> None:
    labels = [frozenset(["rare"])] * 2 + [frozenset(["common"])] * 18
    order = Order(count=20, seed=0, weights=balanced(labels))
    drawn = Counter(*[[next(iter(labels[order(place)[0]])) for place in range(2000)]])
    assert 900 < drawn["rare"] < 1100
    several = balanced([frozenset(["a", "b"]), frozenset(["a"]), frozenset()])
    assert several.sum() == pytest.approx(1)
    assert several[0] > several[1]
    recipe = _classification(balanced=True)
    assert recipe.batches.order.weights is not None


def test_the_published_schedule() -> None:
    golden = json.loads((Path(__file__).parent / "golden" / "cosine_schedule.json").read_text())
    for case in golden["cosine_schedule"]:
        how = case["args"]
        for epoch, rate, _ in case["rows"]:
            found = how["lr"] * half_cosine(
                epoch, epochs=how["epochs"], warmup=how["warmup_epochs"], final=how["min_lr"] / how["lr"]
            )
            assert found == pytest.approx(rate, rel=1e-9, abs=1e-15)


def test_the_rate_is_in_proportion_to_the_batch() -> None:
    course = Course(batch_size=16, learning_rate=5e-3, warmup_epochs=10, epochs=100)
    assert course.rate == pytest.approx(3.125e-4)
    assert Course(batch_size=64, accumulate=64, learning_rate=1.5e-4).rate == pytest.approx(0.0024)
    assert course.factor(0, epoch=10) == 0
    assert course.factor(100, epoch=10) == 1
    assert course.rate * course.factor(1000, epoch=10) == pytest.approx(1e-6)


def test_layers_learn_at_falling_rates() -> None:
    recipe = _classification(layer_decay=0.5, weight_decay=0.1)
    groups = recipe.groups()
    rates = {(group["lr"], group["weight_decay"]) for group in groups}
    rate = 1.0 * 4 / 256
    assert rates == {(rate, 0.1), (rate, 0.0), (rate / 2, 0.1), (rate / 2, 0.0)}
    recipe.module = torch.nn.Sequential(recipe.module)  # as a loop wraps it, which changes the names of parameters
    assert [group["params"] for group in recipe.groups()] == [group["params"] for group in groups]


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"min_learning_rate": 1.0},
        {"warmup_epochs": 6},
        {"layer_decay": 0.0},
        {"weight_decay": -1.0},
        {"mixup": -0.1},
        {"label_smoothing": 1.0},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        _classification(**wrong)


def test_targets_are_the_classes_of_the_outputs() -> None:
    sample = DrawnCase("a", 3).load()
    assert class_target(sample, ("bright", "other", "dark"), is_multi_label=False).tolist() == [1, 0, 0]
    soft = replace(sample, target=replace(sample.target, probabilities=(0.2, 0.6)))
    assert class_target(soft, NAMES, is_multi_label=False).tolist() == pytest.approx([0.25, 0.75])
    unknown = replace(sample, target=replace(sample.target, probabilities=(float("nan"), 1.0)))
    assert class_target(unknown, NAMES, is_multi_label=True).isnan().tolist() == [True, False]
    with pytest.raises(TrainingError, match="'a' has the class 'bright'"):
        class_target(sample, ("dark", "other"), is_multi_label=False)
    with pytest.raises(TrainingError, match="multi_label"):
        class_target(DrawnCase("a", 1, "several").load(), NAMES, is_multi_label=False)
    with pytest.raises(TrainingError, match="no target"):
        class_target(DrawnCase("a", 1, "").load(), NAMES, is_multi_label=False)


def test_several_classes_an_image(tmp_path: Path) -> None:
    recipe = _classification(Drawn(target="several", val=12), multi_label=True, mixup=0.2, cutmix=1.0)
    history = fit(recipe, folder=tmp_path, device="cpu", seed=0)
    assert {name for name in history[0] if name.startswith("val_")} == {"val_loss", "val_auc"}


def test_what_is_not_known_does_not_count() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.0, 0.5]])
    target = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    known = functional.binary_cross_entropy_with_logits(logits[target == target], target[target == target])
    assert class_loss(logits, target, is_multi_label=True).item() == pytest.approx(known.item())
    assert class_loss(logits, target * float("nan"), is_multi_label=True).item() == 0


def test_mixing_mixes_images_and_targets_alike() -> None:
    image = torch.arange(4.0)[:, None, None, None].expand(4, 3, 8, 8)
    target = torch.eye(4)
    for how in (Mixing(mixup=1.0), Mixing(cutmix=1.0)):
        mixed, shares = how(image, target, seed=5)
        assert torch.allclose(shares.sum(1), torch.ones(4))
        means = (shares * torch.arange(4.0)).sum(1)
        assert torch.allclose(mixed.mean((1, 2, 3)), means, atol=1e-5)
        assert not torch.equal(shares, target)
        assert torch.equal(how(image, target, seed=5)[0], mixed)
    assert Mixing()(image, target, seed=5)[0] is image


def test_smoothing_spreads_the_target() -> None:
    target = _classification(label_smoothing=0.2).batches(0)["target"]
    assert sorted({round(value, 6) for value in target.flatten().tolist()}) == [0.1, 0.9]


def test_auc_leaves_out_what_is_not_defined() -> None:
    probabilities = torch.tensor([[0.9, 0.2], [0.4, 0.3], [0.8, 0.1]])
    assert auc(probabilities, torch.tensor([[1.0, 0], [0, 0], [0, 0]])) == 1.0
    assert auc(probabilities, torch.tensor([[1.0, 0], [float("nan"), 0], [1, 0]])) is None


def test_a_damaged_case_stops_by_its_name() -> None:
    with pytest.raises(InputError, match=r"Case 'train-.*' cannot be read: train-.*png is damaged"):
        _classification(Drawn(target="broken")).batches(0)


def test_what_cannot_be_trained_on_is_refused() -> None:
    with pytest.raises(TrainingError, match="training split is empty"):
        _classification(Drawn(train=0))
    with pytest.raises(TrainingError, match="1 classes"):
        _classification(names=("only",))
    for wrong in ((), (0, 1), (2, 2)):
        with pytest.raises(TrainingError, match="different label values"):
            _segmentation(classes=wrong)
    sample = DrawnCase("a", 0, "labelmap-2d").load()
    image = sample.inputs["image"]
    assert isinstance(image, Image)
    with pytest.raises(TrainingError, match="label 2, which is not one"):
        label_numbers(sample, image, [5])
    with pytest.raises(TrainingError, match="24 x 20 pixels"):
        label_numbers(sample, example_images()[0], [2])


def test_images_and_labels_are_changed_alike() -> None:
    labels = np.zeros((24, 20), np.uint8)
    labels[4:14, 2:9] = 1
    image = Image(array=labels * 255)
    pair = Paired(size=32, vertical_flip=0.5, quarter_turns=True, brightness=0.0, mean=(0.0,) * 3, std=(1.0,) * 3)
    seen = set()
    for seed in range(20):
        tensor, mask = pair(image, labels, seed)
        assert (tensor[0].round() != mask).float().mean() < 0.06  # bilinear beside nearest
        seen.add(tuple(mask.flatten().tolist()))
        assert torch.equal(pair(image, labels, seed)[0], tensor)
    assert len(seen) > 15
    assert torch.equal(pair(image, labels)[1], pair(image, labels)[1])


def test_views_may_be_several_and_masks_follow_the_seed() -> None:
    recipe = _self_supervised(views=_pair_of_views)
    batch = recipe.batches(3)
    assert set(batch["images"]) == {"sharp", "dim"}
    first, parts = recipe.loss(batch)
    assert set(parts) == {"whole"}
    assert torch.equal(recipe.loss(batch)[0], first)
    assert not torch.equal(recipe.loss({**batch, "seed": batch["seed"] + 1})[0], first)


def test_resumes_exactly(tmp_path: Path) -> None:
    expected = fit(_classification(mixup=0.5), folder=tmp_path / "whole", device="cpu", seed=0)
    recipe = _classification(mixup=0.5)
    recipe.loss = _stopping(recipe.loss, after=9)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, folder=tmp_path / "cut", device="cpu", seed=0)
    again = fit(_classification(mixup=0.5), folder=tmp_path / "cut", device="cpu", seed=0)
    assert [row["loss"] for row in again] == [row["loss"] for row in expected]


def _pair_of_views(image: Image, seed: int) -> dict[str, Tensor]:
    sharp = pretraining(SIZE)(image, seed)
    return {"sharp": sharp, "dim": sharp / 2}


def _stopping(loss: Any, *, after: int) -> Any:
    calls = []

    def stopping(batch: Any) -> Any:
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return loss(batch)

    return stopping


def test_the_examples_of_the_kit_can_be_trained_on() -> None:
    inputs = [{"photograph": image} for image in example_images()]
    classes, labels = example_data(inputs, example_classes()), example_data(inputs, example_labelmaps())
    recipe = _classification(classes, names=tuple(classes.classes.values()))
    assert recipe.batches(0)["target"].shape == (4, 3)
    recipe.loss(recipe.batches(0))[0].backward()
    assert recipe.validate() is None
    assert labels.classes == {1: "disc", 2: "lesion"}
    recipe = _segmentation(data=labels, classes=tuple(labels.classes))
    assert recipe.batches(0)["labels"].unique().tolist() == [0, 1, 2]
    recipe.loss(recipe.batches(0))[0].backward()

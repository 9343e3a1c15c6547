"""The recipes: what is shown, what is learned, what resumes, what is refused."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omlab import Sample
from omlab.errors import TrainingError
from omlab.models import ModelBase, find_model, load_adapter
from omlab.settings import complete
from omlab_image import Image
from omlab_pathoduet.training import momentum_at
from omlab_pathoduet.views import REGION, MaskedPair, PairOfStains, PatchInRegion, TwoViews
from omlab_payloads.classes import Classes
from omlab_testkit.example_data import ExampleCase, ExampleData
from omlab_train import fit

ALONE = ("moco", "cross-scale")
RECIPES = (*ALONE, "cross-stain", "multi-stain")


def tissue(number: int, *, colour: tuple[float, float, float] = (0.3, 0.7, 0.25)) -> Image:
    """Stripes of a density, direction and width of its own, on a ground of `colour`."""
    generator = np.random.default_rng(number)
    turn, wide, most = generator.uniform(0, np.pi), generator.uniform(5, 25), generator.uniform(0.1, 0.95)
    rows, columns = np.mgrid[:96, :96]
    along = rows * np.sin(turn) + columns * np.cos(turn)
    density = most * (0.6 + 0.4 * np.sin(2 * np.pi * along / wide))
    return Image(array=np.rint(255 * (1 - density[..., None] * np.array(colour))).astype(np.uint8))


def plain(number: int) -> Image:
    """Noise, pale for every other one."""
    noise = np.random.default_rng(number).integers(0, 60, (96, 96, 3))
    return Image(array=(noise + 190 * (number % 2)).astype(np.uint8))


def data(recipe: str, *, count: int = 24) -> ExampleData:
    cases = []
    for number in range(count):
        inputs = {"image": tissue(number)}
        if recipe not in ALONE:
            inputs = {"he": tissue(number), "ihc": tissue(number, colour=(0.5, 0.6, 0.8))}
        cases.append(ExampleCase(id=f"place-{number}", inputs=inputs, group=f"slide-{number}"))
    return ExampleData(samples=cases, kinds=dict.fromkeys(cases[0].inputs, "image"))


def ready(recipe: str, *, count: int = 24, **settings: Any) -> Any:
    """The recipe on a copy of the tiny network."""
    base = ModelBase(find_model("pathoduet-tiny", device="cpu"))
    own = find_model("pathoduet-tiny").card.trains[recipe].settings
    chosen = complete(own, {"warmup_epochs": 0.0, "batch_size": 8, **settings}, of="the recipe")
    given = data(recipe, count=count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = base.trainable().retarget(recipe, given.about("train"), settings=chosen, seed=0)
    return model.recipe(recipe, given, settings=chosen, seed=0)


def measured(made: Any) -> float:
    """The mean loss of always the same batches, of their own statistics; the network stays as it is."""
    kept, made.module = made.module, copy.deepcopy(made.module).train()
    with torch.no_grad():
        losses = [float(made.loss(made.batches(number))[0]) for number in range(100, 104)]
    made.module = kept
    return float(np.mean(losses))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_loss_falls(recipe: str, tmp_path: Path) -> None:
    own = {"cross-stain": {"temperature": 0.2}, "cross-scale": {"temperature": 0.5}}
    made = ready(recipe, **{"epochs": 8, "learning_rate": 0.02, **own.get(recipe, {})})
    before = measured(made)
    history = fit(made, folder=tmp_path, device="cpu", seed=0)
    assert len(history) == made.course.epochs
    # At lower temperatures so few steps of cross-scale go up or down with the number of threads.
    assert measured(made) < (0.995 if recipe == "cross-scale" else 0.98) * before


@pytest.mark.parametrize("recipe", ["cross-scale", "cross-stain"])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(recipe: str, tmp_path: Path) -> None:
    """The momentum encoder, which no gradient reaches, is in the checkpoint too."""
    whole, first, second = (ready(recipe, count=8, epochs=3, batch_size=4, learning_rate=0.05) for _ in range(3))
    fit(whole, folder=tmp_path / "whole", device="cpu", seed=0)

    class StoppedError(Exception):
        pass

    calls, loss = iter(range(100)), first.loss

    def stopping(batch: Any) -> Any:
        if next(calls) == 4:  # in the third epoch of two steps each
            raise StoppedError
        return loss(batch)

    first.loss = stopping
    with pytest.raises(StoppedError):
        fit(first, folder=tmp_path / "parts", device="cpu", seed=0)
    fit(second, folder=tmp_path / "parts", device="cpu", seed=0)
    wanted = whole.module.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in second.module.state_dict().items())


def test_the_momentum_goes_by_the_step_of_the_batch() -> None:
    made = ready("moco", epochs=4, momentum=0.9)
    seen: list[float] = []

    class Module(torch.nn.Module):
        def forward(self, views: Any, *, momentum: float) -> Any:
            seen.append(momentum)
            return torch.zeros(()), {}

    made.module = Module()
    for number in (0, 3, 11):
        made.loss(made.batches(number))
    assert seen == [momentum_at(step / 3, epochs=4, first=0.9) for step in (0, 3, 11)]
    assert momentum_at(0, epochs=4, first=0.9) == pytest.approx(0.9)
    assert momentum_at(4, epochs=4, first=0.9) == 1


def test_views_are_functions_of_case_and_seed_with_values_from_0_to_1() -> None:
    two = TwoViews(size=32)
    pair = {"he": tissue(1), "ihc": tissue(1, colour=(0.5, 0.6, 0.8))}
    shown: list[tuple[Any, dict[str, Any], set[str]]] = [
        (two, {"image": tissue(1)}, {"first", "second"}),
        (PatchInRegion(views=two), {"image": tissue(1)}, {"first", "second", "reference", "region"}),
        (PairOfStains(size=32), pair, {"he", "ihc", "stain"}),
        (MaskedPair(size=32, patches=4), pair, {"he", "ihc", "stain", "noise"}),
    ]
    for views, inputs, names in shown:
        sample = Sample(id="a", inputs=inputs)
        found, again, other = views(sample, 1), views(sample, 1), views(sample, 2)
        assert found.keys() == names
        for name, value in found.items():
            assert torch.equal(value, again[name])
            assert value.min() >= 0
            assert value.max() <= 1
            assert name == "noise" or value.shape == (3, *([16] * 2 if name in ("reference", "stain") else [32] * 2))
        assert not all(torch.equal(value, other[name]) for name, value in found.items())


def test_a_patch_beside_its_region_is_taken_and_one_image_alone_is_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{PatchInRegion.__module__}.REGION", replace(REGION, jittered=0, grey=0, blurred=0, flipped=0))
    white, black = (Image(array=np.full((64, 64, 3), value, np.uint8)) for value in (255, 0))
    views = PatchInRegion(views=TwoViews(size=32))
    both = views(Sample(id="a", inputs={"image": black, "region": white}), 0)
    assert both["region"].min() == 1
    assert both["reference"].max() == 0
    spot = np.zeros((64, 64, 3), np.uint8)
    spot[:8, :8] = 255
    alone = [views(Sample(id="a", inputs={"image": Image(array=spot)}), seed)["reference"].mean() for seed in range(12)]
    assert len({round(float(one), 3) for one in alone}) > 1  # patches of a quarter, from different places
    with pytest.raises(TrainingError, match="named 'region'"):
        views(Sample(id="a", inputs={"one": black, "other": white}), 0)


def test_a_case_without_its_other_stain_is_named() -> None:
    with pytest.raises(TrainingError, match=r"Case 'a' has no image 'ihc' \(its images: 'he'\).*columns he and ihc"):
        PairOfStains(size=32)(Sample(id="a", inputs={"he": tissue(0)}), 0)
    with pytest.raises(TrainingError, match="no image 'he'"):
        MaskedPair(size=32, patches=4)(Sample(id="a", inputs={"image": tissue(0)}), 0)


@pytest.mark.parametrize(("part", "rate"), [("all", 0.03), ("head", 1.0)])
def test_classes_are_learned_without_normalisation(part: str, rate: float, tmp_path: Path) -> None:
    names = ("dark", "pale")
    cases = [
        ExampleCase(
            id=f"patch-{number}",
            inputs={"image": plain(number)},
            target=Classes(names=names, probabilities=[1.0 - number % 2, float(number % 2)]),
            group=f"slide-{number}",
        )
        for number in range(16)
    ]
    given = ExampleData(
        samples=cases,
        kinds={"image": "image"},
        target="classes",
        classes=dict(enumerate(names)),
        task="classification",
    )
    ref = find_model("pathoduet-tiny", device="cpu")
    base = ModelBase(ref)
    settings = {"epochs": 8, "batch_size": 8, "warmup_epochs": 1, "learning_rate": rate, "layer_decay": 0.9}
    chosen = complete(ref.card.trains["classification"].settings, settings, of="the recipe")
    _, adapter, _ = load_adapter("finetune", {"workers": 0, "part": part})
    made: Any = adapter.fit(base, given, recipe="classification", settings=chosen, seed=0, folder=tmp_path)
    assert made.history[-1]["loss"] < made.history[0]["loss"]
    if part == "head":  # the whole takes longer
        model: Any = adapter.restore(base, config=made.config, tensors=made.tensors)
        prepared = [model.prepare("predict", {"image": cases[number].inputs["image"]}) for number in (0, 1)]
        assert [one.predicted for one in model.predict(prepared)] == [("dark",), ("pale",)]

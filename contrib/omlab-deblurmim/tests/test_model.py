"""What the models do: embeddings of blurred images; classes and masks where they were trained; wrong settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import omlab
from omlab.errors import InputError, SettingsError, TrainingError, WeightsError, WeightsWarning
from omlab_deblurmim.blur import Blur
from omlab_deblurmim.images import BlurredAndSharp
from omlab_deblurmim.model import DeblurMimModel
from omlab_deblurmim.retarget import Plan
from omlab_image import Image, LabelMap2D
from omlab_image.transforms import pretraining
from omlab_payloads.classes import Classes
from omlab_train import fit

Discs = Callable[..., Any]
CARDS = ("deblurmim-tiny", "deblurmim-conv-tiny")
COURSE: dict[str, Any] = {"batch_size": 4, "warmup_epochs": 0.0}


def tiny(name: str = CARDS[0], **settings: Any) -> DeblurMimModel:
    model = omlab.load_model(name, device="cpu", settings=settings).model
    assert isinstance(model, DeblurMimModel)
    return model


def settings_of(recipe: str, **changed: Any) -> dict[str, Any]:
    card = omlab.load_model(CARDS[0], device="cpu").card
    return {name: setting.default for name, setting in card.trains[recipe].settings.items()} | changed


def trained(
    name: str, recipe: str, data: Any, folder: Path, **changed: Any
) -> tuple[DeblurMimModel, list[dict[str, float]]]:
    settings = settings_of(recipe, **changed)
    model = tiny(name, size=32).retarget(recipe, data.about("train"), settings=settings, seed=0)
    return model, fit(
        model.recipe(recipe, data, settings=settings, seed=0), folder=folder, device="cpu", seed=0, workers=0
    )


def image_of(data: Any, number: int = 0) -> Image:
    image = data.cases("train")[number].load().inputs["image"]
    assert isinstance(image, Image)
    return image


def vector(model: DeblurMimModel, image: Image) -> Any:
    (found,) = model.embed([model.prepare("embed", {"image": image})])
    return found.vector


@pytest.mark.parametrize("name", CARDS)
def test_images_are_blurred_and_embedded(discs: Discs, name: str) -> None:
    image = image_of(discs())
    blurred = image.with_array(Blur()(image.array))
    torch.testing.assert_close(vector(tiny(name), image), vector(tiny(name, blur="none"), blurred))
    assert not np.allclose(vector(tiny(name), image), vector(tiny(name, blur="none"), image))
    assert not np.allclose(vector(tiny(name), image), vector(tiny(name), image_of(discs(), 1)))


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("recipe", ["deblurring", "masked"])
def test_painting_is_learnt(discs: Discs, tmp_path: Path, name: str, recipe: str) -> None:
    data, settings = discs(), settings_of(recipe, **COURSE, epochs=20, learning_rate=0.2, size=32)
    model = tiny(name, size=32).retarget(recipe, data.about("train"), settings=settings, seed=0)
    made = model.recipe(recipe, data, settings=settings, seed=0)

    def loss() -> float:
        with torch.no_grad():
            return float(made.loss(made.batches(0))[0])

    before = loss()
    fit(made, folder=tmp_path, device="cpu", seed=0, workers=0)
    assert loss() < 0.8 * before
    assert (model.blur is not None) is (recipe == "deblurring")


def test_both_views_show_the_same_part(discs: Discs) -> None:
    """Only the blur tells them apart: without any to speak of they are the same."""
    image = image_of(discs())
    views = BlurredAndSharp(blur=Blur(sigma=0.05), part=pretraining(32))
    for seed in range(3):
        both = views(image, seed)
        torch.testing.assert_close(both["image"], both["sharp"])
    both = BlurredAndSharp(blur=Blur(), part=pretraining(32))(image, 0)
    assert not torch.allclose(both["image"], both["sharp"])


@pytest.mark.parametrize("name", CARDS)
def test_classes_are_learnt(discs: Discs, tmp_path: Path, name: str) -> None:
    data = discs("classes")
    model, history = trained(name, "classification", data, tmp_path, **COURSE, epochs=4, drop_path=0.0)
    assert history[-1]["loss"] < history[0]["loss"] + 0.05
    (found,) = model.predict([model.prepare("predict", {"image": image_of(data)})])
    assert isinstance(found, Classes)
    assert found.names == ("bright", "dark")
    assert sum(found.probabilities) == pytest.approx(1)
    assert model.blur == Blur()


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("decoder", ["unet++", "unet"])
def test_discs_are_found_on_their_own_grid(discs: Discs, tmp_path: Path, name: str, decoder: str) -> None:
    data = discs("labelmap-2d")
    model, history = trained(name, "segmentation", data, tmp_path, **COURSE, epochs=6, size=64, decoder=decoder)
    assert history[-1]["loss"] < history[0]["loss"]
    image = image_of(data)
    (found,) = model.predict([model.prepare("predict", {"image": image})])
    assert isinstance(found, LabelMap2D)
    assert found.same_grid(image)
    assert set(np.unique(found.array)) <= {0, 7}
    told = {name: facts["pixels"] for name, facts in found.tells()["structures"].items()}
    assert told == ({"nodule": np.count_nonzero(found.array)} if found.array.any() else {})


def test_a_segmenter_goes_on_with_its_decoder(discs: Discs) -> None:
    about, settings = discs("labelmap-2d").about("train"), settings_of("segmentation", size=64)
    first = tiny(size=64).retarget("segmentation", about, settings=settings, seed=0)
    second = first.retarget("segmentation", about, settings=settings, seed=1)
    for name, value in second.module.state_dict().items():
        assert torch.equal(value, first.module.state_dict()[name]), name


def test_a_decoder_that_is_not_there_starts_anew(discs: Discs) -> None:
    classifier = tiny().retarget(
        "classification", discs("classes").about("train"), settings=settings_of("classification"), seed=0
    )
    with pytest.warns(WeightsWarning, match="no decoder"):
        classifier.retarget("deblurring", discs().about("train"), settings=settings_of("deblurring"), seed=0)


@pytest.mark.parametrize("name", CARDS)
def test_another_size_keeps_the_tokens_where_they_are(discs: Discs, name: str) -> None:
    settings = settings_of("deblurring", size=96)
    model = tiny(name).retarget("deblurring", discs().about("train"), settings=settings, seed=0)
    assert model.size == 96
    assert vector(model, image_of(discs())).shape == (64,)


def test_a_configuration_comes_back() -> None:
    for name in CARDS:
        plan = tiny(name).plan
        assert Plan.from_config(plan.to_config()) == plan
    with pytest.raises(WeightsError, match="not one of an adapted"):
        Plan.from_config({"kind": "autoencoder"})


def test_what_cannot_be_is_said(discs: Discs) -> None:
    with pytest.raises(SettingsError, match="multiple of the patch"):
        tiny(size=40)
    with pytest.raises(InputError, match="NaN"):
        tiny().prepare("embed", {"image": Image(array=np.full((8, 8), np.nan, dtype=np.float32))})
    model = tiny()
    with pytest.raises(TrainingError, match="at least two"):
        model.retarget("classification", discs().about("train"), settings=settings_of("classification"), seed=0)
    with pytest.raises(TrainingError, match="no classes"):
        model.retarget("segmentation", discs().about("train"), settings=settings_of("segmentation"), seed=0)
    data = discs("labelmap-2d")
    ignoring = replace(data, says=replace(data.says, ignored=(255,)))
    with pytest.raises(TrainingError, match="not annotated"):
        model.retarget("segmentation", ignoring.about("train"), settings=settings_of("segmentation"), seed=0)
    wrong = settings_of("segmentation", size=50)
    with pytest.raises(SettingsError, match="size"):
        model.retarget("segmentation", discs("labelmap-2d").about("train"), settings=wrong, seed=0)

"""From a volume to its labels, and both recipes: what they take of a data set and what they make of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import omlab
from omlab.errors import InputError, OmlabWarning, SettingsError, TrainingError, WeightsWarning
from omlab.roles import About, Sample
from omlab_misfm.batches import fused
from omlab_misfm.model import MisfmModel
from omlab_misfm.networks import CONFIGS, untrained
from omlab_misfm.task import Task, own_plan
from omlab_misfm.training import PymicRecipe
from omlab_testkit.held import Held
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import Label, Volume

TINY = ["misfm-pctnet-tiny", "misfm-fmunet-tiny"]
LOADED = {"mirror": False, "step": 0.5, "batch_size": 1, "patch_size": [], "resolution_mode": "own"}
SEGMENTATION: dict[str, Any] = {
    "epochs": 4, "steps_per_epoch": 5, "patches": 2, "learning_rate": 0.001, "patch_size": [], "spacing": [],
    "resolution_mode": "own", "augment": True,
}  # fmt: skip
FUSION: dict[str, Any] = {**SEGMENTATION, "clip": [], "smallest_block": [], "largest_block": []}
FACTS = {"channels": 1, "spacings": [[4.0, 1.5, 1.5]], "shapes": [[18, 40, 20]], "intensities": ["hu"]}


def model_of(name: str) -> MisfmModel:
    found: MisfmModel = omlab.load_model(f"{name}.untrained", device="cpu").model
    return found


def data(*, classes: dict[int, str] | None = None, facts: dict[str, Any] | None = None, **more: Any) -> Held:
    pairs = zip(example_volumes(), example_labelmaps(), strict=True)
    samples = [Sample(id=f"case-{n}", inputs={"volume": v}, target=t) for n, (v, t) in enumerate(pairs)]
    about = About(
        inputs={"volume": "volume"},
        target="labelmap",
        classes={1: "organ", 2: "bone"} if classes is None else classes,
        facts={"volume": FACTS if facts is None else facts},
        **more,
    )
    return Held(samples=samples, says=about)


@pytest.mark.parametrize("name", TINY)
def test_labels_lie_on_the_grid_of_the_volume(name: str) -> None:
    model = model_of(name)
    for volume in example_volumes():
        with pytest.warns(OmlabWarning, match="pre-trained by Volume Fusion and knows no anatomy"):
            labels = model.segment(volume)
        assert labels.same_grid(volume)
        assert labels.array.max() <= 4


def test_label_values_are_those_of_the_task() -> None:
    network = untrained(replace(CONFIGS["misfm-fmunet-tiny"], num_classes=2))
    task = Task(plan=own_plan((16, 32, 32)), labels=(Label(value=7, name="organ"),))
    model = MisfmModel(network, task=task, device="cpu", settings=LOADED)
    assert set(np.unique(model.segment(example_volumes()[0]).array)) <= {0, 7}


def test_another_number_of_channels_is_that_cases_failure() -> None:
    model = model_of("misfm-fmunet-tiny")
    volume = example_volumes(channels=2)[0]
    with pytest.warns(OmlabWarning, match="knows no anatomy"):
        (found,) = model.predict([{"volume": volume}])
    assert isinstance(found, InputError)
    assert "takes 1 channel(s)" in str(found)


def test_mirroring_averages_flips_within_slices() -> None:
    network = untrained(replace(CONFIGS["misfm-fmunet-tiny"], num_classes=2))
    task = Task(plan=own_plan((16, 32, 32)), labels=(Label(value=1, name="organ"),))
    volume = example_volumes()[0]
    seen: list[int] = []
    network.register_forward_hook(lambda *_: seen.append(1))
    for mirror, axes, flips in ((False, (0, 1, 2), 1), (True, (0, 1, 2), 4), (True, (0, 1), 2)):
        seen.clear()
        settings = {**LOADED, "mirror": mirror, "step": 1.0}
        MisfmModel(network, task=replace(task, mirror_axes=axes), device="cpu", settings=settings).segment(volume)
        assert len(seen) == flips


@pytest.mark.parametrize("name", TINY)
def test_retargeting_takes_classes_channels_and_window_of_the_data(name: str) -> None:
    about = data(facts={**FACTS, "channels": 2}).about("train")
    model = model_of(name)
    found = model.retarget("segmentation", about, settings=SEGMENTATION, seed=1)
    config = found.module.config
    assert (config.in_channels, config.num_classes) == (2, 3)
    assert found.plan.patch_size == (16, 32, 16)
    assert found.plan.spacing is None
    assert [label.name for label in found.task.labels] == ["organ", "bone"]
    assert not found.task.fusion
    key = "encoder.down1.down.2.weight" if "fmunet" in name else "pyramid_ct.down3.conv.2.weight"
    assert torch.equal(found.module.state_dict()[key], model.module.state_dict()[key])
    chosen = {**SEGMENTATION, "patch_size": [16, 16, 32], "spacing": [3.0, 2.0, 2.0], "resolution_mode": "2"}
    if "fmunet" in name:  # its kernels of another mode do not fit; PCT-Net has those of all modes
        with pytest.warns(
            WeightsWarning, match="9 entries of the weights do not fit 2 channel.* mode 2 and start anew"
        ):
            other = model.retarget("segmentation", about, settings=chosen, seed=1)
    else:
        other = model.retarget("segmentation", about, settings=chosen, seed=1)
    assert other.plan.patch_size == (16, 16, 32)
    assert other.plan.spacing == (3.0, 2.0, 2.0)
    assert other.module.config.resolution_mode == 2


def test_a_window_is_given_once() -> None:
    settings = {"patch_size": [16, 16, 32]}
    model = omlab.load_model("misfm-pctnet-tiny.untrained", device="cpu", settings=settings).model
    assert model.retarget("segmentation", data().about("train"), settings=SEGMENTATION, seed=0).plan.patch_size == (
        16, 16, 32,
    )  # fmt: skip
    other = {**SEGMENTATION, "patch_size": [16, 32, 32]}
    with pytest.raises(SettingsError, match=r"of the model but .* of the recipe"):
        model.retarget("segmentation", data().about("train"), settings=other, seed=0)


def test_sides_are_not_flipped_and_fusion_needs_no_classes() -> None:
    model = model_of("misfm-fmunet-tiny")
    about = data(classes={1: "left kidney", 2: "right kidney"}).about("train")
    assert model.retarget("segmentation", about, settings=SEGMENTATION, seed=0).task.mirror_axes == (0, 1)
    with pytest.raises(TrainingError, match="names no classes"):
        model.retarget("segmentation", data(classes={}).about("train"), settings=SEGMENTATION, seed=0)
    found = model.retarget("volume-fusion", data(classes={}).about("train"), settings=FUSION, seed=0)
    assert found.task.fusion
    assert found.module.config.num_classes == 5
    key = "out_layers.0.2.weight"  # the same task again: its heads are kept
    assert torch.equal(found.module.state_dict()[key], model.module.state_dict()[key])


def test_data_without_one_volume_are_refused() -> None:
    about = About(inputs={"image": "image"}, classes={1: "organ"})
    with pytest.raises(TrainingError, match=r"one volume a case, but these have image \(image\)"):
        model_of("misfm-fmunet-tiny").retarget("segmentation", about, settings=SEGMENTATION, seed=0)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("recipe", ["segmentation", "volume-fusion"])
def test_a_few_steps_lower_the_loss(name: str, recipe: str) -> None:
    settings = {**(FUSION if recipe == "volume-fusion" else SEGMENTATION), "patch_size": [16, 16, 32]}
    model = model_of(name).retarget(recipe, data().about("train"), settings=settings, seed=0)
    made = model.recipe(recipe, data(), settings=settings, seed=0)
    module = made.module.train()
    batch = made.batches(0)
    optimizer = torch.optim.SGD(next(group["params"] for group in made.groups()), lr=0.05)
    torch.manual_seed(0)
    losses = []
    for _ in range(6):
        loss, _ = made.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert module.training


def test_fused_batches_are_images_in_0_to_1_and_quarters() -> None:
    model = model_of("misfm-fmunet-tiny").retarget("volume-fusion", data().about("train"), settings=FUSION, seed=0)
    made = model.recipe("volume-fusion", data(), settings=FUSION, seed=0)
    batch = made.batches(3)
    images, labels = fused(batch)
    assert images.shape == (2, 1, *model.plan.patch_size)
    assert 0 <= images.min() < images.max() <= 1
    assert set(labels.unique().tolist()) <= set(range(5))
    assert len(labels.unique()) > 2
    for number, at in ((0, batch["second"]), (4, batch["first"])):
        assert torch.equal(images[:, 0][labels == number], at[:, 0][labels == number])
    assert not torch.equal(images, fused(made.batches(4))[0])


def test_rates_fall_as_published() -> None:
    model = model_of("misfm-fmunet-tiny").retarget("segmentation", data().about("train"), settings=SEGMENTATION, seed=0)
    made = model.recipe("segmentation", data(), settings=SEGMENTATION, seed=0)
    assert isinstance(made, PymicRecipe)
    assert (made.how.optimizer, made.groups()[0]["weight_decay"]) == ("adam", 1e-5)
    assert [made.schedule(step) for step in (0, 4, 5, 19)] == pytest.approx([1, 1, 0.75**0.8, 0.25**0.8])
    fusion = model.retarget("volume-fusion", data().about("train"), settings=FUSION, seed=0)
    halved = fusion.recipe("volume-fusion", data(), settings=FUSION, seed=0)
    assert [halved.schedule(step) for step in (0, 4, 5, 15, 19)] == [1, 1, 0.5, 0.125, 0.125]
    assert made.fingerprint != halved.fingerprint


def test_numbers_that_cannot_be_are_refused() -> None:
    model = model_of("misfm-fmunet-tiny").retarget("volume-fusion", data().about("train"), settings=FUSION, seed=0)
    with pytest.raises(TrainingError, match="learning_rate must be above 0"):
        model.recipe("volume-fusion", data(), settings={**FUSION, "learning_rate": 0.0}, seed=0)
    for clip in ([1, 0], [3], ["a", "b"]):
        with pytest.raises(SettingsError, match=r"clip is .* two numbers"):
            model.recipe("volume-fusion", data(), settings={**FUSION, "clip": clip}, seed=0)
    for blocks in ({"smallest_block": [9, 9, 9]}, {"largest_block": [17, 40, 20]}):
        with pytest.raises(SettingsError, match=r"Blocks of .* cannot be in patches of"):
            model.recipe("volume-fusion", data(), settings={**FUSION, **blocks}, seed=0)
    with pytest.raises(SettingsError, match=r"spacing is .* three numbers above 0"):
        model.retarget("segmentation", data().about("train"), settings={**SEGMENTATION, "spacing": [1, 2]}, seed=0)


def test_several_channels_are_fused_alike() -> None:
    samples = [Sample(id="two", inputs={"volume": example_volumes(channels=2)[0]}, target=None)]
    facts = {**FACTS, "channels": 2, "intensities": ["unknown"]}  # nothing is cut off
    about = About(inputs={"volume": "volume"}, facts={"volume": facts})
    held = Held(samples=samples, says=about)
    model = model_of("misfm-fmunet-tiny").retarget("volume-fusion", about, settings=FUSION, seed=0)
    images, _ = fused(model.recipe("volume-fusion", held, settings=FUSION, seed=0).batches(0))
    assert images.shape[1] == 2
    torch.testing.assert_close(images[:, 0], images[:, 1], atol=1e-4, rtol=0)  # they differ by 10 HU throughout


def test_annotations_left_out_do_not_count() -> None:
    held = data(classes={1: "organ", 2: "left out"}, ignored=[2])
    model = model_of("misfm-fmunet-tiny").retarget("segmentation", held.about("train"), settings=SEGMENTATION, seed=0)
    assert model.module.config.num_classes == 2
    made = model.recipe("segmentation", held, settings=SEGMENTATION, seed=0)
    batch = made.batches(0)
    assert int(batch["labels"].max()) == 2
    loss, _ = made.loss(batch)
    assert torch.isfinite(loss)


def test_an_image_of_one_value_can_be_fused() -> None:
    flat = Volume(array=np.zeros((1, 20, 20, 20), np.int16), affine=np.eye(4), intensity="hu")
    about = About(inputs={"volume": "volume"}, facts={"volume": FACTS})
    held = Held(samples=[Sample(id="flat", inputs={"volume": flat}, target=None)], says=about)
    model = model_of("misfm-fmunet-tiny").retarget("volume-fusion", about, settings=FUSION, seed=0)
    with pytest.warns(OmlabWarning, match="shows nothing"):
        made = model.recipe("volume-fusion", held, settings=FUSION, seed=0)
    images, _ = fused(made.batches(0))
    assert torch.isfinite(images).all()

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from omlab.card_schema import ModelCard, validate
from omlab.cards import read_cards
from omlab.errors import InputError, OmlabError, SettingsError, TrainingError, UsageError, WeightsError
from omlab.roles import About, Sample
from omlab.settings import complete
from omlab.weights import resolve, save_state_dict
from omlab_stunet.model import StuNetModel, load
from omlab_stunet.network import SIZES, untrained
from omlab_stunet.training import merged
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import Label, LabelMap, Volume

CARDS = {card.name: cast(ModelCard, validate(card)) for card in read_cards("omlab_stunet", "model")}
RECIPE = CARDS["stunet-tiny"].trains["segmentation"]
FACTS = {
    "spacings": [[4.0, 1.5, 1.5], [2.0, 1.1, 1.3], [2.5, 1.2, 0.9]],
    "shapes": [[10, 18, 22], [14, 16, 19], [12, 21, 20]],
    "intensities": ["hu"],
    "channels": 1,
    "foreground": {"mean": 60.0, "std": 90.0, "percentile_00_5": -40.0, "percentile_99_5": 600.0},
}


def build(
    name: str = "stunet-tiny", *, weights: Path | None = None, config: Any = None, **settings: Any
) -> StuNetModel:
    card = CARDS[name]
    chosen = complete(card.settings, {"mirror": False, **settings}, of=name)
    given = resolve(card, "untrained", weights=weights)
    return load(card, weights=given, needs={}, device="cpu", settings=chosen, config=config)


def predict(model: StuNetModel, volume: Volume) -> LabelMap:
    """What the verb gives for one case; raises what stands for a failure."""
    (found,) = model.predict([{"volume": volume}])
    if isinstance(found, OmlabError):
        raise found
    return found


def settings_of(**given: Any) -> dict[str, Any]:
    small = {"epochs": 1, "steps_per_epoch": 2, "learning_rate": 0.01, "augment": False}
    return complete(RECIPE.settings, small | given, of="segmentation")


def about(classes: Mapping[int, str] | None = None, *, facts: Mapping[str, Any] = FACTS) -> About:
    return About(
        inputs={"volume": "volume"},
        target="labelmap",
        classes=classes or {1: "organ", 2: "bone"},
        facts={"volume": facts},
        cases=3,
    )


def retargeted(model: StuNetModel | None = None, of: About | None = None, **settings: Any) -> StuNetModel:
    return (model or build()).retarget("segmentation", of or about(), settings=settings_of(**settings), seed=0)


def samples(*, channels: int = 1) -> list[Sample]:
    pairs = zip(example_volumes(channels=channels), example_labelmaps(), strict=True)
    return [Sample(id=f"case{n}", inputs={"volume": volume}, target=target) for n, (volume, target) in enumerate(pairs)]


@pytest.mark.parametrize("index", range(3))
def test_a_prediction_lies_on_the_grid_of_its_volume(index: int) -> None:
    volume = example_volumes()[index]
    found = predict(build(), volume)
    assert found.same_grid(volume)
    assert [label.value for label in found.labels] == list(range(1, 105))
    assert found.array.max() <= 104


def test_both_variants_and_mirroring_are_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def spy(network: Any, volume: Volume, **arguments: Any) -> LabelMap:
        seen.append(arguments)
        return LabelMap(array=np.zeros(volume.grid.shape, np.uint8), affine=volume.affine)

    monkeypatch.setattr("omlab_stunet.model.segment", spy)
    volume = example_volumes()[0]
    predict(build(variant="v1", mirror=True, step=0.25, batch_size=3), volume)
    predict(build(variant="v2"), volume)
    assert [s["combine"] for s in seen] == ["probabilities", "logits"]
    assert [s["mirror"] for s in seen] == [(0, 1, 2), False]
    assert (seen[0]["step"], seen[0]["batch_size"]) == (0.25, 3)
    assert seen[0]["plan"].normalisation == "zscore"


def test_the_variants_differ_only_in_doubtful_voxels() -> None:
    volume = example_volumes()[0]
    first, second = (predict(build(variant=v, spacing=[2, 1, 1]), volume).array for v in ("v1", "v2"))
    assert (first == second).mean() > 0.8


def test_the_size_comes_from_the_file(tmp_path: Path) -> None:
    state = untrained(SIZES["tiny"], seed=3).state_dict()
    torch.save({"state_dict": state}, tmp_path / "some.model")
    model = build("stunet", weights=tmp_path / "some.model")
    assert model.module.config.dims == SIZES["tiny"].dims
    assert all(torch.equal(value, state[key]) for key, value in model.module.state_dict().items())


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    torch.save({"network_weights": untrained(SIZES["tiny"]).state_dict()}, tmp_path / "tiny.pth")
    with pytest.raises(WeightsError, match=r"tiny\.pth holds STU-Net tiny, not small: .*load it as stunet-tiny"):
        build("stunet-small", weights=tmp_path / "tiny.pth")


def test_a_file_of_ten_classes_has_the_names_of_abdomen_atlas(tmp_path: Path) -> None:
    network = untrained(replace(SIZES["tiny"], num_classes=10))
    torch.save({"state_dict": network.state_dict()}, tmp_path / "atlas.model")
    labels = build("stunet", weights=tmp_path / "atlas.model").task.labels
    assert [label.name for label in labels][:3] == ["aorta", "gallbladder", "IVC"]


def test_another_modality_is_refused_and_an_unknown_one_is_not() -> None:
    volume = example_volumes()[0]
    with pytest.raises(InputError, match="is MR, but this network was trained on CT"):
        predict(build(), replace(volume, intensity="mr"))
    predict(build(), replace(volume, intensity="unknown"))


def test_another_number_of_channels_and_another_payload_are_refused() -> None:
    with pytest.raises(InputError, match="channel"):
        predict(build(), example_volumes(channels=2)[0])
    with pytest.raises(UsageError, match="is a labelmap, but a volume is needed"):
        predict(build(), example_labelmaps()[0])  # type: ignore[arg-type]


def test_a_case_that_fails_leaves_the_others_of_its_batch() -> None:
    good, other = example_volumes()[0], example_volumes(channels=2)[0]
    first, second, third = build().predict([{"volume": good}, {"volume": other}, {"volume": good}])
    assert isinstance(second, InputError)
    assert np.array_equal(cast(LabelMap, first).array, cast(LabelMap, third).array)


def test_layers_name_every_parameter_once_from_input_to_head() -> None:
    model = build()
    layers = model.layers()
    names = [name for layer in layers for name in layer]
    assert sorted(names) == sorted(name for name, _ in model.module.named_parameters())
    assert layers[0][0].startswith("conv_blocks_context.0.")
    assert all(name.startswith("seg_outputs.") for name in layers[-1])


def test_retargeting_gives_new_heads_channels_and_labels_and_leaves_the_model_alone() -> None:
    model = build()
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    adapted = retargeted(model, about(facts={**FACTS, "channels": 2}))
    assert adapted.module.config.in_channels == 2
    assert adapted.module.config.num_classes == 3
    assert [label.name for label in adapted.task.labels] == ["organ", "bone"]
    assert adapted.plan.spacing == (2.5, 1.2, 1.3)
    key = "conv_blocks_context.3.0.conv2.weight"
    assert torch.equal(adapted.module.state_dict()[key], before[key])
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())
    adapted.module.get_parameter(key).data.zero_()
    assert torch.equal(model.module.state_dict()[key], before[key])


def test_without_facts_the_plan_stays() -> None:
    model = build()
    assert retargeted(model, about(facts={})).plan == model.plan


def test_label_values_with_gaps_are_kept(held: Any) -> None:
    spread = []
    for sample in samples():
        target = cast(LabelMap, sample.target)
        array = np.array([0, 7, 300], np.uint16)[target.array]
        labels = [Label(value=7, name="organ"), Label(value=300, name="bone")]
        spread.append(replace(sample, target=replace(target, array=array, labels=labels)))
    data = held(samples=spread, classes={7: "organ", 300: "bone"}, facts=FACTS)
    adapted = retargeted(of=data.about("train"))
    assert adapted.module.config.num_classes == 3
    found = predict(adapted, cast(Volume, spread[0].inputs["volume"]))
    assert set(np.unique(found.array)) <= {0, 7, 300}
    assert [label.value for label in found.labels] == [7, 300]
    batch = adapted.recipe("segmentation", data, settings=settings_of(), seed=0).batches(0)
    assert set(batch["labels"].unique().tolist()) <= {0, 1, 2}


def test_classes_that_differ_by_side_are_not_mirrored_left_to_right() -> None:
    sided = about({1: "kidney_left", 2: "kidney_right"})
    assert retargeted(of=sided, augment=True).task.mirror_axes == (0, 1)
    assert retargeted(augment=True).task.mirror_axes == (0, 1, 2)


def test_what_training_did_not_mirror_is_not_mirrored_when_predicting() -> None:
    adapted = retargeted(augment=False)
    assert adapted.task.mirror_axes == ()
    assert adapted.config()["mirror_axes"] == []


def test_an_adapted_model_comes_back_from_its_config_and_weights(tmp_path: Path) -> None:
    adapted = retargeted()
    save_state_dict(adapted.module.state_dict(), tmp_path / "weights.safetensors")
    config = json.loads(json.dumps(adapted.config()))
    again = build(weights=tmp_path / "weights.safetensors", config=config)
    assert again.plan == adapted.plan
    assert again.task == adapted.task
    volume = example_volumes()[1]
    assert np.array_equal(predict(again, volume).array, predict(adapted, volume).array)


def test_a_spacing_of_the_model_is_that_of_its_training(tmp_path: Path) -> None:
    adapted = retargeted(build(spacing=[3, 3, 3]))
    assert adapted.plan.spacing == (3, 3, 3)
    again = build(config=json.loads(json.dumps(adapted.config())), spacing=[3, 3, 3])
    assert again.plan == adapted.plan
    with pytest.raises(SettingsError, match="give it once"):
        retargeted(build(spacing=[3, 3, 3]), spacing=[2, 2, 2])


def test_a_damaged_config_is_one_sentence() -> None:
    config = build().config()
    del config["plan"]
    with pytest.raises(WeightsError, match="not one of an adapted STU-Net"):
        build(config=config)


def test_the_recipe_follows_its_settings(held: Any) -> None:
    data = held(samples=samples(), facts=FACTS)
    given = {"spacing": [3, 2, 2], "patch_size": [8, 16, 16], "windows": 2}
    adapted = retargeted(of=data.about("train"), **given)
    recipe = adapted.recipe("segmentation", data, settings=settings_of(**given), seed=0)
    assert adapted.plan.patch_size == (8, 16, 16)
    assert adapted.plan.spacing == (3, 2, 2)
    assert recipe.batches(0)["image"].shape == (2, 1, 8, 16, 16)
    assert recipe.how.momentum == 0.9
    long = adapted.recipe("segmentation", data, settings=settings_of(**given, epochs=100, steps_per_epoch=250), seed=0)
    assert long.how.momentum == 0.99


def test_training_lowers_the_loss(held: Any) -> None:
    given = {"patch_size": [8, 16, 16], "windows": 1}
    data = held(samples=samples(), facts=FACTS)
    adapted = retargeted(of=data.about("train"), **given)
    recipe = adapted.recipe("segmentation", data, settings=settings_of(**given), seed=0)
    optimizer, batch = torch.optim.SGD(recipe.groups(), momentum=0.9, nesterov=True), recipe.batches(0)
    recipe.module.train()
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss, _ = recipe.loss(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_loss_has_upstreams_level_weights(held: Any) -> None:
    golden = json.loads((Path(__file__).parent / "golden" / "algorithms.json").read_text())
    data = held(samples=samples(), facts=FACTS)
    adapted = retargeted(of=data.about("train"), patch_size=[8, 16, 16])
    recipe = adapted.recipe("segmentation", data, settings=settings_of(), seed=0)
    outputs = [torch.zeros(1, 3, 4, 4, 4, requires_grad=True) for _ in range(5)]
    loss = recipe._loss(outputs, torch.zeros(1, 4, 4, 4, dtype=torch.int64))
    gradients = torch.autograd.grad(loss, outputs, allow_unused=True)
    norms = [0.0 if g is None else g.norm().item() for g in gradients]
    weights = golden["deep_supervision_weights"]["5"]
    assert [n / sum(norms) for n in norms] == pytest.approx(weights)


@pytest.mark.parametrize("keep_classes", [False, True])
def test_the_loss_does_not_look_at_what_is_not_annotated(held: Any, keep_classes: bool) -> None:
    data = held(samples=samples(), facts=FACTS, classes={1: "a", 2: "b"}, ignored=(2,))
    given = {"patch_size": [16, 16, 16], "keep_classes": keep_classes}
    adapted = retargeted(of=data.about("train"), **given)
    assert [label.name for label in adapted.task.labels if label.name in "ab"] == ["a"]
    recipe = adapted.recipe("segmentation", data, settings=settings_of(**given), seed=0)
    batch = recipe.batches(0)
    labels = batch["labels"]
    labels[0, 0] = 2
    outputs = [torch.randn(len(labels), 1 + len(adapted.task.labels), *labels.shape[1:], requires_grad=True)]
    (gradient,) = torch.autograd.grad(recipe._loss(outputs, labels), outputs)
    left_out = (labels == 2)[:, None].expand_as(gradient)
    assert not gradient[left_out].any()
    assert gradient[~left_out].any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (About(inputs={"image": "image"}, classes={1: "a"}), "one volume a case, but these have image"),
        (About(inputs={"t1": "volume", "t2": "volume"}, classes={1: "a"}), "one volume a case"),
        (About(inputs={"volume": "volume"}, classes={0: "background"}), "nothing to learn"),
    ],
)
def test_data_that_cannot_be_learned_from_is_one_sentence(wrong: About, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        retargeted(of=wrong)


def kept(model: StuNetModel | None = None, **settings: Any) -> StuNetModel:
    given = {"keep_classes": True, "patch_size": [16, 16, 16], **settings}
    return retargeted(model, about({1: "organ", 2: "liver"}), **given)


def test_old_classes_are_kept_beside_new_ones() -> None:
    model = build()
    adapted = kept(model)
    names = [label.name for label in adapted.task.labels]
    assert names == [*(label.name for label in model.task.labels), "organ"]
    assert adapted.task.labels[-1].value == 105
    known = names.index("liver") + 1
    assert known not in adapted.task.kept
    assert len(adapted.task.kept) == 103
    key = "seg_outputs.4.weight"
    assert torch.equal(adapted.module.state_dict()[key][:105], model.module.state_dict()[key])
    again = type(adapted.task).from_config(json.loads(json.dumps(adapted.task.to_config())))
    assert again == adapted.task


def test_the_loss_of_kept_classes_is_background_or_any_of_them() -> None:
    logits = torch.randn(2, 5, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = merged(logits, kept=[1, 3], taught=[4, 2]).softmax(dim=1)
    wanted = logits.softmax(dim=1)
    assert torch.allclose(found[:, 0], wanted[:, 0] + wanted[:, 1] + wanted[:, 3])
    assert torch.allclose(found[:, 1], wanted[:, 4])
    assert torch.allclose(found[:, 2], wanted[:, 2])


def test_what_is_forgotten_is_measured_on_windows(held: Any) -> None:
    data = held(samples=samples(), classes={1: "organ", 2: "liver"}, facts=FACTS)
    adapted = kept()
    recipe = adapted.recipe(
        "segmentation", data, settings=settings_of(keep_classes=True, patch_size=[16, 16, 16]), seed=0
    )
    with torch.inference_mode():
        recipe.module.eval()
        same = recipe.validate()["kept_dice"]
        heads: list[Tensor] = [p for name, p in recipe.module.named_parameters() if name.startswith("seg_outputs.")]
        for parameter in heads:
            parameter.zero_()
        forgotten = recipe.validate()["kept_dice"]
    assert same > 0.9
    assert forgotten == 0


def test_there_must_be_something_to_add() -> None:
    with pytest.raises(TrainingError, match="known to the network already"):
        retargeted(of=about({1: "liver", 2: "spleen"}), keep_classes=True)

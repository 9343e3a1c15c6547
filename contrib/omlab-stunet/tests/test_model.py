from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from omlab.card_schema import ModelCard, validate
from omlab.cards import read_cards
from omlab.errors import InputError, TrainingError, UsageError, WeightsError
from omlab.roles import Sample
from omlab.settings import complete
from omlab.weights import save_state_dict
from omlab_stunet.model import StuNetModel, load
from omlab_stunet.network import SIZES, untrained
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import Label, LabelMap, Volume

CARDS = {card.name: cast(ModelCard, validate(card)) for card in read_cards("omlab_stunet", "model")}
TRAINING = {
    "epochs": 1,
    "steps_per_epoch": 2,
    "batch_size": 2,
    "learning_rate": 0.01,
    "patch_size": [],
    "spacing": [],
    "augment": False,
}


def build(
    name: str = "stunet-tiny", *, weights: Path | None = None, config: Any = None, **settings: Any
) -> StuNetModel:
    card = CARDS[name]
    chosen = complete(card, {"mirror": False, **settings})
    return load(card, weights=weights, device="cpu", settings=chosen, config=config)


def samples(*, channels: int = 1) -> list[Sample]:
    pairs = zip(example_volumes(channels=channels), example_labelmaps(), strict=True)
    return [Sample(id=f"case{n}", payload=volume, target=target) for n, (volume, target) in enumerate(pairs)]


@pytest.mark.parametrize("index", range(3))
def test_a_prediction_lies_on_the_grid_of_its_volume(index: int) -> None:
    volume = example_volumes()[index]
    found = build().predict(volume)
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
    build(variant="v1", mirror=True, step=0.25, batch_size=3).predict(volume)
    build(variant="v2").predict(volume)
    assert [s["combine"] for s in seen] == ["probabilities", "logits"]
    assert [s["mirror"] for s in seen] == [(0, 1, 2), False]
    assert (seen[0]["step"], seen[0]["batch_size"]) == (0.25, 3)
    assert seen[0]["plan"].normalisation == "zscore"


def test_the_variants_differ_only_in_doubtful_voxels() -> None:
    volume = example_volumes()[0]
    first, second = (build(variant=v, spacing=[2, 1, 1]).predict(volume).array for v in ("v1", "v2"))
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
        build().predict(replace(volume, intensity="mr"))
    build().predict(replace(volume, intensity="unknown"))


def test_another_number_of_channels_and_another_payload_are_refused() -> None:
    with pytest.raises(InputError, match="channel"):
        build().predict(example_volumes(channels=2)[0])
    with pytest.raises(UsageError, match="segments volumes"):
        build().predict(example_labelmaps()[0])


def test_retargeting_gives_new_heads_channels_and_labels_and_leaves_the_model_alone() -> None:
    model = build()
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    adapted = model.retarget(samples(channels=2), seed=0)
    assert adapted.module.config.in_channels == 2
    assert adapted.module.config.num_classes == 3
    assert [label.name for label in adapted.task.labels] == ["organ", "bone"]
    key = "conv_blocks_context.3.0.conv2.weight"
    assert torch.equal(adapted.module.state_dict()[key], before[key])
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())
    adapted.module.get_parameter(key).data.zero_()
    assert torch.equal(model.module.state_dict()[key], before[key])


def test_label_values_with_gaps_are_kept() -> None:
    spread = []
    for sample in samples():
        target = cast(LabelMap, sample.target)
        array = np.array([0, 7, 300], np.uint16)[target.array]
        labels = [Label(value=7, name="organ"), Label(value=300, name="bone")]
        spread.append(replace(sample, target=replace(target, array=array, labels=labels)))
    adapted = build().retarget(spread, seed=0)
    assert adapted.module.config.num_classes == 3
    found = adapted.predict(spread[0].payload)
    assert set(np.unique(found.array)) <= {0, 7, 300}
    assert [label.value for label in found.labels] == [7, 300]
    batch = adapted.training_task(spread, settings=TRAINING, seed=0).batch(0)
    assert set(batch["labels"].unique().tolist()) <= {0, 1, 2}


def test_classes_that_differ_by_side_are_not_mirrored_left_to_right() -> None:
    sided = []
    for sample in samples():
        target = cast(LabelMap, sample.target)
        labels = [Label(value=1, name="kidney_left"), Label(value=2, name="kidney_right")]
        sided.append(replace(sample, target=replace(target, labels=labels)))
    adapted = build().retarget(sided, seed=0)
    assert adapted.task.mirror_axes == (0, 1)
    assert adapted.training_task(sided, settings={**TRAINING, "augment": True}, seed=0).mirror_axes == (0, 1)
    assert adapted.task.mirror_axes == (0, 1)


def test_what_training_did_not_mirror_is_not_mirrored_when_predicting() -> None:
    adapted = build().retarget(samples(), seed=0)
    adapted.training_task(samples(), settings={**TRAINING, "augment": False}, seed=0)
    assert adapted.task.mirror_axes == ()
    assert adapted.config()["mirror_axes"] == []


def test_classes_without_sides_are_mirrored_along_all_axes() -> None:
    assert build().retarget(samples(), seed=0).task.mirror_axes == (0, 1, 2)


def test_an_adapted_model_comes_back_from_its_config_and_weights(tmp_path: Path) -> None:
    adapted = build().retarget(samples(), seed=0)
    save_state_dict(adapted.module.state_dict(), tmp_path / "weights.safetensors")
    config = json.loads(json.dumps(adapted.config()))
    again = build(weights=tmp_path / "weights.safetensors", config=config)
    assert again.plan == adapted.plan
    assert again.task == adapted.task
    volume = example_volumes()[1]
    assert np.array_equal(again.predict(volume).array, adapted.predict(volume).array)


def test_a_damaged_config_is_one_sentence() -> None:
    config = build().config()
    del config["plan"]
    with pytest.raises(WeightsError, match="not one of an adapted STU-Net"):
        build(config=config)


def test_the_training_task_follows_its_settings() -> None:
    adapted = build().retarget(samples(), seed=0)
    task = adapted.training_task(
        samples(), settings={**TRAINING, "spacing": [3, 2, 2], "patch_size": [8, 16, 16]}, seed=0
    )
    assert task.patch_size == adapted.plan.patch_size == (8, 16, 16)
    assert adapted.plan.spacing == (3, 2, 2)
    assert task.batch(0)["image"].shape == (2, 1, 8, 16, 16)
    assert task.optimizer().param_groups[0]["momentum"] == 0.9
    long = adapted.training_task(samples(), settings={**TRAINING, "epochs": 100, "steps_per_epoch": 250}, seed=0)
    assert long.optimizer().param_groups[0]["momentum"] == 0.99


def test_training_lowers_the_loss() -> None:
    adapted = build().retarget(samples(), seed=0)
    task = adapted.training_task(samples(), settings={**TRAINING, "patch_size": [8, 16, 16], "batch_size": 1}, seed=0)
    optimizer, batch = task.optimizer(), task.batch(0)
    task.module.train()
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss, _ = task.loss(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_loss_has_upstreams_level_weights() -> None:
    golden = json.loads((Path(__file__).parent / "golden" / "algorithms.json").read_text())
    adapted = build().retarget(samples(), seed=0)
    task = adapted.training_task(samples(), settings=TRAINING, seed=0)
    outputs = [torch.zeros(1, 3, 4, 4, 4, requires_grad=True) for _ in range(5)]
    loss = task._loss(outputs, torch.zeros(1, 4, 4, 4, dtype=torch.int64))
    gradients = torch.autograd.grad(loss, outputs, allow_unused=True)
    norms = [0.0 if g is None else g.norm().item() for g in gradients]
    weights = golden["deep_supervision_weights"]["5"]
    assert [n / sum(norms) for n in norms] == pytest.approx(weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, target=None), "no label map"),
        (lambda s: replace(s, payload=example_volumes(channels=3)[1]), "3: they must agree"),
        (
            lambda s: replace(s, target=replace(s.target, labels=[Label(value=1, name="other")])),
            "'other' in case 'case1'",
        ),
    ],
)
def test_samples_that_cannot_be_learned_from_are_named(change: Any, message: str) -> None:
    first, second, _ = samples()
    with pytest.raises(TrainingError, match=message):
        build().retarget([first, change(second)], seed=0)


def test_nothing_labelled_is_one_sentence() -> None:
    first = samples()[0]
    target = cast(LabelMap, first.target)
    empty = replace(first, target=replace(target, array=np.zeros_like(target.array), labels=()))
    with pytest.raises(TrainingError, match="nothing to learn"):
        build().retarget([empty], seed=0)

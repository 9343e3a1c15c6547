from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from omlab.prompts import Prompts

from omlab.card_schema import ModelCard, validate
from omlab.cards import read_cards
from omlab.errors import OmlabWarning, SettingsError, TrainingError, UsageError, WeightsError
from omlab.roles import Finetunable, Promptable, Sample, SimulatesClicks
from omlab.settings import complete
from omlab.weights import save_state_dict
from omlab.weights.sources import parse
from omlab_sammed3d.model import TINY, SamMed3dModel, load
from omlab_sammed3d.network import SamMed3dConfig, untrained
from omlab_sammed3d.weights import WRAPPER
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import LabelMap

CARDS = {card.name: cast(ModelCard, validate(card)) for card in read_cards("omlab_sammed3d", "model")}
TRAINING = {
    "epochs": 1,
    "steps_per_epoch": 1,
    "batch_size": 1,
    "learning_rate": 0.001,
    "patch_size": [],
    "spacing": [],
    "augment": False,
}
CLICK = Prompts.model_validate(
    {"space": "voxel", "image": "ct.nii", "objects": [{"name": "organ", "points": [{"at": [8, 9, 5]}]}]}
)


def build(
    name: str = "sammed3d-tiny", *, weights: Path | None = None, config: Any = None, **settings: Any
) -> SamMed3dModel:
    card = CARDS[name]
    return load(card, weights=weights, device="cpu", settings=complete(card, settings), config=config)


def samples() -> list[Sample]:
    pairs = zip(example_volumes(), example_labelmaps(), strict=True)
    return [Sample(id=f"{n}", payload=volume, target=target) for n, (volume, target) in enumerate(pairs)]


def saved(path: Path, **changes: Any) -> Path:
    config = SamMed3dConfig(**{**vars(TINY), **changes})
    torch.save({"model_state_dict": untrained(config, seed=3).state_dict()}, path)
    return path


def test_the_cards_have_the_published_files_at_addresses_that_can_be_fetched() -> None:
    files = [file for card in CARDS.values() for weights in card.weights.values() for file in weights.files]
    assert len({file.url for file in files}) == len({file.name for file in files}) == len(files) == 7
    for file in files:
        assert file.wrapper == WRAPPER
        parse(file.url)


def test_the_model_fulfils_its_roles() -> None:
    model = build()
    assert isinstance(model, Promptable)
    assert isinstance(model, SimulatesClicks)
    assert isinstance(model, Finetunable)


def test_without_prompts_it_says_what_it_takes() -> None:
    with pytest.raises(UsageError, match=r"give prompts \(points or boxes\)"):
        build().predict(example_volumes()[0])
    with pytest.raises(UsageError, match="segments volumes, but was given a labelmap"):
        build().predict(example_labelmaps()[0], prompts=CLICK)
    with pytest.raises(UsageError, match="against a label map, not against a volume"):
        build().simulate(example_volumes()[0], example_volumes()[0], clicks=1, seed=0)


def test_clicks_are_simulated_by_the_rule_of_the_setting() -> None:
    runs = [
        build(rule=rule).simulate(example_volumes()[0], example_labelmaps()[0], clicks=2, seed=0).prompts
        for rule in ("ritm", "random")
    ]
    assert runs[0] != runs[1]


def test_a_file_with_boxes_is_refused_by_a_card_without_and_the_reverse(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"boxes\.pth holds a SAM-Med3D that takes boxes, .*load it as sammed3d-box"):
        build("sammed3d", weights=saved(tmp_path / "boxes.pth"))
    with pytest.raises(WeightsError, match="takes no boxes, unlike sammed3d-boxes: load it as sammed3d"):
        build("sammed3d-boxes", weights=saved(tmp_path / "plain.pth", point_embeddings=2))


def test_the_image_size_is_the_files_or_the_settings(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth")
    assert build(weights=path).module.config.image_size == 32
    assert build(weights=path, image_size=48).module.config.image_size == 48
    assert build(image_size=16).module.config.image_size == 16
    assert build(rel_pos="textbook").module.config.rel_pos == "textbook"
    with pytest.raises(SettingsError, match="20, but must be a multiple of 8"):
        build(image_size=20)


def test_another_spacing_than_that_of_published_weights_is_warned_about(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth")
    with pytest.warns(OmlabWarning, match=r"works at 3 mm, but its published weights were trained at 1.5 mm"):
        assert build(weights=path, spacing=3.0).spacing == 3
    assert build(spacing=3.0).spacing == 3  # untrained: nothing to do badly


def test_retargeting_is_a_copy(tmp_path: Path) -> None:
    model = build()
    adapted = model.retarget(samples(), seed=0)
    with torch.no_grad():
        adapted.module.mask_decoder.mask_tokens.weight.zero_()
    assert model.module.mask_decoder.mask_tokens.weight.abs().sum() > 0
    with pytest.raises(TrainingError, match="'x' is not a volume with a label map"):
        model.retarget([Sample(id="x", payload=example_volumes()[0])], seed=0)


def test_an_adapted_model_comes_back_with_its_own_size_and_spacing(tmp_path: Path) -> None:
    adapted = build(rel_pos="textbook").retarget(samples(), seed=0)
    task = adapted.training_task(
        samples(), settings={**TRAINING, "patch_size": [24, 24, 24], "spacing": [2.0, 2.0, 2.0]}, seed=0
    )
    assert task.batch(0)["image"].shape == (1, 1, 24, 24, 24)
    save_state_dict(adapted.module.state_dict(), tmp_path / "weights.safetensors")
    again = build(weights=tmp_path / "weights.safetensors", config=json.loads(json.dumps(adapted.config())))
    assert again.module.config == adapted.module.config
    assert again.spacing == 2
    volume = example_volumes()[0]
    first, second = (cast(LabelMap, model.predict(volume, prompts=CLICK)).array for model in (adapted, again))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch_size": [16, 16, 8]}, "takes cubes: three equal numbers"),
        ({"patch_size": [20, 20, 20]}, "multiple of 8 voxels"),
        ({"spacing": [1.0, 1.0, 2.0]}, "'spacing' is"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        build().training_task(samples(), settings={**TRAINING, **change}, seed=0)


def test_a_damaged_config_is_one_sentence() -> None:
    config = build().config()
    for wrong in ({**config, "network": {"depth": 3}}, {"spacing": 1.5}, {**config, "network": None}):
        with pytest.raises(WeightsError, match="not one of an adapted SAM-Med3D"):
            build(config=wrong)

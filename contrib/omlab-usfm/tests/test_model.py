"""What the model does: embeddings; classes and label maps where it was trained; what is said of wrong settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import omlab
from omlab import Session
from omlab.errors import InputError, SettingsError, TrainingError, WeightsError
from omlab.weights import save_state_dict
from omlab_image import Image, LabelMap2D
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_train import fit
from omlab_usfm.encoder import Encoder, EncoderConfig
from omlab_usfm.model import UsfmModel
from omlab_usfm.segmentation import SegVit, UperNet
from omlab_usfm.weights import with_published_buffers

Discs = Callable[..., Any]
COURSE: dict[str, Any] = {"batch_size": 4, "warmup_epochs": 0.0, "augment": False}


def tiny(**settings: Any) -> Session:
    return omlab.load_model("usfm-tiny", device="cpu", settings=settings)


def tiny_model(**settings: Any) -> UsfmModel:
    model = tiny(**settings).model
    assert isinstance(model, UsfmModel)
    return model


def vector(session: Session, image: Image) -> Any:
    found = session.embed(image)
    assert isinstance(found, Embedding)
    return found.vector


def settings_of(recipe: str, **changed: Any) -> dict[str, Any]:
    card = omlab.load_model("usfm-tiny", device="cpu").card
    return {name: setting.default for name, setting in card.trains[recipe].settings.items()} | changed


def trained(recipe: str, data: Any, folder: Path, **changed: Any) -> tuple[UsfmModel, list[dict[str, float]]]:
    settings = settings_of(recipe, **changed)
    model = tiny_model(size=32).retarget(recipe, data.about("train"), settings=settings, seed=0)
    made = model.recipe(recipe, data, settings=settings, seed=0)
    return model, fit(made, folder=folder, device="cpu", seed=0, workers=0)


def test_images_are_embedded(discs: Discs) -> None:
    session = tiny()
    vectors = [vector(session, case.load().inputs["image"]) for case in discs().cases("train")[:2]]
    assert vectors[0].shape == (96,)
    assert not np.allclose(vectors[0], vectors[1])


def test_grey_and_colour_are_the_same(discs: Discs) -> None:
    session = tiny()
    grey = discs().cases("train")[0].load().inputs["image"]
    colour = Image(array=np.repeat(grey.array[..., None], 3, axis=2))
    np.testing.assert_allclose(vector(session, grey), vector(session, colour))


def test_classes_are_learnt(discs: Discs, tmp_path: Path) -> None:
    data = discs("classes")
    model, history = trained("classification", data, tmp_path, **COURSE, epochs=12, drop_path=0.0, size=0)
    assert history[-1]["loss"] < history[0]["loss"]
    cases = [case.load() for case in data.cases("train")]
    found = list(model.predict([model.prepare("predict", case.inputs) for case in cases]))
    assert all(isinstance(one, Classes) and sum(one.probabilities) == pytest.approx(1) for one in found)
    right = [getattr(one, "predicted", None) == case.target.predicted for one, case in zip(found, cases, strict=True)]
    assert sum(right) >= 7


@pytest.mark.parametrize(("head", "network"), [("segvit", SegVit), ("upernet", UperNet)])
def test_discs_are_learnt_on_their_own_grid(discs: Discs, tmp_path: Path, head: str, network: type) -> None:
    data = discs("labelmap-2d")
    model, history = trained("segmentation", data, tmp_path, **COURSE, epochs=3, size=64, head=head)
    assert isinstance(model.module, network)
    assert history[-1]["loss"] < history[0]["loss"]
    image = data.cases("train")[0].load().inputs["image"]
    (found,) = model.predict([model.prepare("predict", {"image": image})])
    assert isinstance(found, LabelMap2D)
    assert found.same_grid(image)
    assert set(np.unique(found.array)) <= {0, 7}
    assert found.names == {7: "nodule"}
    told = {name: facts["pixels"] for name, facts in found.tells()["structures"].items()}
    assert told == ({"nodule": np.count_nonzero(found.array)} if found.array.any() else {})


def test_masked_images_are_made_whole(discs: Discs, tmp_path: Path) -> None:
    changed = {"epochs": 12, "batch_size": 4, "warmup_epochs": 0.0, "size": 32, "block": 16, "learning_rate": 0.02}
    model, history = trained("spatial-frequency", discs(), tmp_path, **changed)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert {"spatial", "frequency"} <= history[0].keys()
    again = model.retarget(
        "classification", discs("classes").about("train"), settings=settings_of("classification"), seed=0
    )
    for name, value in again.module.state_dict().items():
        if name.startswith("blocks."):
            assert torch.equal(value, model.module.state_dict()[name])


def test_upstream_segvit_leaves_out_what_upstream_does(discs: Discs) -> None:
    about = discs("labelmap-2d").about("train")
    made = {
        upstream: tiny_model().retarget(
            "segmentation", about, settings=settings_of("segmentation", upstream_segvit=upstream), seed=0
        )
        for upstream in (False, True)
    }
    assert "backbone.blocks.0.gamma_1" in made[False].module.state_dict()
    assert "backbone.blocks.0.gamma_1" not in made[True].module.state_dict()


def published(path: Path, *, size: int = 224) -> Path:
    config = EncoderConfig(image_size=size, width=24, depth=2, heads=2, block_tables=False, shared_table=True)
    encoder = Encoder(config)
    torch.nn.init.normal_(encoder.get_parameter("rel_pos_bias.relative_position_bias_table"))
    state = with_published_buffers(encoder).state_dict()
    save_state_dict({key: value for key, value in state.items() if not key.startswith("fc_norm.")}, path)
    return path


@pytest.mark.parametrize("tables", ["clamped", "upstream"])
def test_a_published_file_is_taken_at_another_size(discs: Discs, tmp_path: Path, tables: str) -> None:
    path = published(tmp_path / "USFM_latest.safetensors")
    session = omlab.load_model("usfm", weights=path, device="cpu", settings={"size": 512, "tables": tables})
    assert isinstance(session.model, UsfmModel)
    assert session.model.size == 512
    assert np.isfinite(vector(session, discs().cases("train")[0].load().inputs["image"])).all()


def test_gaps_of_upstream_s_tables_are_said(tmp_path: Path) -> None:
    path = published(tmp_path / "USFM_latest.safetensors")
    with pytest.raises(SettingsError, match="480 entries"):
        omlab.load_model("usfm", weights=path, device="cpu", settings={"size": 256, "tables": "upstream"})


def test_another_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_state_dict({"conv1.weight": torch.zeros(2, 3)}, path)
    with pytest.raises(WeightsError, match="is not an encoder of USFM"):
        omlab.load_model("usfm", weights=path, device="cpu")


def test_a_size_that_cannot_be_is_said() -> None:
    with pytest.raises(SettingsError, match="multiple of the patch"):
        tiny(size=40)


def test_pixels_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="NaN"):
        tiny().embed(Image(array=np.full((8, 8), np.nan, dtype=np.float32)))


def test_data_that_cannot_be_learnt_are_said(discs: Discs) -> None:
    model = tiny_model()
    with pytest.raises(TrainingError, match="at least two"):
        model.retarget("classification", discs().about("train"), settings=settings_of("classification"), seed=0)
    with pytest.raises(TrainingError, match="no classes"):
        model.retarget("segmentation", discs().about("train"), settings=settings_of("segmentation"), seed=0)
    data = discs("labelmap-2d")
    ignoring = replace(data, says=replace(data.says, ignored=(255,)))
    with pytest.raises(TrainingError, match="not annotated"):
        model.retarget("segmentation", ignoring.about("train"), settings=settings_of("segmentation"), seed=0)
    wrong = settings_of("spatial-frequency", block=48)
    with pytest.raises(SettingsError, match="masks cannot be"):
        model.retarget("spatial-frequency", discs().about("train"), settings=wrong, seed=0)

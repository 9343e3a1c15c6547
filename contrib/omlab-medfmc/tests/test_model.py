"""The backbones as models: published files, upstream's schedule, and prompts on top."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

import omlab
from omlab.errors import SettingsError, WeightsError
from omlab.jobs.adapt import adapt
from omlab_image import Image
from omlab_medfmc.losses import multi_label_loss
from omlab_medfmc.model import untrained
from omlab_medfmc.training import MedfmcRecipe, classification
from omlab_medfmc.vit import VitConfig

DEFAULTS: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 4,
    "multi_label": False,
    "optimizer": "adamw",
    "learning_rate": 0.05,
    "final_rate": 0.01,
    "warmup_epochs": 0.0,
    "weight_decay": 0.05,
    "max_grad_norm": 5.0,
}


def picture(height: int = 40, width: int = 30) -> Image:
    return Image(array=np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def recipe_for(root: Path, name: str = "colon", **settings: Any) -> MedfmcRecipe:
    data = omlab.load_dataset(f"medfmc-{name}", root=tiny.baseline(root, name))
    model: Any = omlab.load_model("medfmc-vit-tiny", settings={"size": 32}).model
    chosen = {**DEFAULTS, **settings}
    target = model.retarget("classification", data.about("train"), settings=chosen, seed=0)
    return classification(target, data, settings=chosen, seed=0)


@pytest.mark.parametrize("name", ["medfmc-vit-tiny", "medfmc-swin-tiny"])
def test_images_are_resized_whatever_their_ratio(name: str) -> None:
    session = omlab.load_model(name, settings={"size": 64})
    vector = session.embed(picture()).vector
    assert np.isfinite(vector).all()
    squeezed = session.prepare("embed", {"image": picture(40, 80)})
    assert squeezed.value.shape == (3, 64, 64)
    half = omlab.load_model(name, settings={"size": 64, "colours": "half"})
    assert half.prepare("embed", {"image": picture()}).value.abs().max() <= 1


def test_a_published_file_loads(tmp_path: Path) -> None:
    """A file as upstream's model zoo has it: wrapped, with a head that is dropped; positions of 384 px too."""
    network = untrained(VitConfig())
    state = {**network.state_dict(), "head.layers.head.weight": torch.zeros(1000, 768)}
    path = tmp_path / "vit.pth"
    torch.save({"meta": {}, "state_dict": state}, path)
    session = omlab.load_model("medfmc-vit", weights=path)
    loaded = session.model.module.state_dict()  # type: ignore[attr-defined]
    assert torch.equal(loaded["backbone.pos_embed"], state["backbone.pos_embed"])
    state["backbone.pos_embed"] = torch.zeros(1, 1 + 24 * 24, 768)
    torch.save({"state_dict": state}, path)
    session = omlab.load_model("medfmc-vit", weights=path)
    assert session.model.module.backbone.grid == (24, 24)  # type: ignore[attr-defined]
    del state["backbone.cls_token"]
    torch.save({"state_dict": state}, path)
    with pytest.raises(WeightsError, match=r"missing: backbone\.cls_token"):
        omlab.load_model("medfmc-vit", weights=path)


def test_a_map_must_hold_a_window() -> None:
    with pytest.raises(SettingsError, match="at least 25 pixels"):
        omlab.load_model("medfmc-swin-tiny", settings={"size": 24})
    session = omlab.load_model("medfmc-swin-tiny", settings={"size": 25})
    assert np.isfinite(session.embed(picture()).vector).all()


def test_the_schedule_is_upstreams(tmp_path: Path) -> None:
    plain = recipe_for(tmp_path / "a", final_rate=0.0)
    assert plain.steps == 4 * 3
    assert [plain.schedule(0), plain.schedule(6)] == pytest.approx([1, 0.5])
    filled = recipe_for(tmp_path / "b", warmup_epochs=4.0)
    for step in range(filled.steps):
        share = step / filled.steps
        cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))
        assert filled.schedule(step) == pytest.approx(cosine * (1e-3 + share * (1 - 1e-3)))
    with pytest.raises(SettingsError, match="warmup_epochs is 5, but there are 4 epochs"):
        recipe_for(tmp_path / "c", warmup_epochs=5.0)
    assert recipe_for(tmp_path / "d", optimizer="sgd").how.momentum == 0.9


def test_the_loss_grows_with_the_classes(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path, "endo", multi_label=True)
    batch = recipe.batches(0)
    loss, _ = recipe.loss(batch)
    logits = recipe.module(batch["image"])
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch["target"])
    assert loss.item() == pytest.approx(4 * each.item(), rel=1e-5)
    labels = torch.tensor([[1, -1, 0, 0]])
    assert multi_label_loss(logits[:1], labels) == multi_label_loss(logits[:1], labels.abs())


@pytest.mark.parametrize(
    ("model", "more", "shape"),
    [
        ("medfmc-vit-tiny", {"depth": "deep", "length": 2}, (2, 2, 32)),
        ("medfmc-swin-tiny", {}, (1, 5, 16)),  # the card advises five
    ],
)
@pytest.mark.filterwarnings("ignore::omlab.gates.DoubtWarning")  # the training images are smaller
def test_prompt_tuning_moves_prompts_and_the_head_alone(
    tmp_path: Path, model: str, more: dict[str, Any], shape: tuple[int, ...]
) -> None:
    data = f"medfmc-colon:{tiny.baseline(tmp_path, 'colon')}"
    settings = {"epochs": 1, "model.size": 64, **more}
    folder = adapt(model, data, adapter="vpt", recipe="classification", output=tmp_path / "m", settings=settings).place
    stored = load_file(folder / "weights.safetensors")
    assert set(stored) == {"backbone.prompt", "head.fc.weight", "head.fc.bias"}
    assert stored["backbone.prompt"].shape == shape
    found = omlab.load_model(folder).predict(picture())
    assert found.names == ("negative", "positive")
    assert sum(found.probabilities) == pytest.approx(1)

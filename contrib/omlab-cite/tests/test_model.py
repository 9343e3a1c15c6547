"""CITE as models of omlab: checkpoints, zero-shot classes, the recipe, and what an adapted model keeps."""

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
from omlab.errors import OmlabError, SettingsError, TrainingError, WeightsError
from omlab.jobs.adapt import adapt
from omlab_cite.gastric.lists import CLASSES
from omlab_cite.images import PUBLISHED_SATURATION, Augmentation
from omlab_cite.network import Cite
from omlab_cite.sampling import TurnsOrder, turns_of
from omlab_cite.training import CiteRecipe
from omlab_cite.vit import PromptConfig, PromptedVit, VitConfig
from omlab_image import Image

TINY = VitConfig(size=32, patch=8, width=64, depth=2, embed=32)
DEFAULTS: dict[str, Any] = {
    "text": "",
    "pooling": "pooled",
    "texts": [],
    "length": 1,
    "mode": "prepend",
    "depth": "shallow",
    "init": "token",
    "projection": True,
    "steps": 10,
    "batch_size": 6,
    "learning_rate": 0.03,
    "warmup_steps": 2,
    "sampling": "classes",
    "compat": False,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_gastric(tmp_path_factory.mktemp("gastric") / "data", slides=40, size=16)


def patch() -> Image:
    return Image(array=np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8))


def retargeted(root: Path, model: str = "cite-tiny", **settings: Any) -> Any:
    data = omlab.load_dataset("patchgastric", root=root)
    made: Any = omlab.load_model(model).model
    return made.retarget("classification", data.about("train"), settings={**DEFAULTS, **settings}, seed=0)


def recipe_for(root: Path, **settings: Any) -> CiteRecipe:
    data = omlab.load_dataset("patchgastric", root=root)
    made: CiteRecipe = retargeted(root, **settings).recipe(
        "classification", data, settings={**DEFAULTS, **settings}, seed=0
    )
    return made


def test_classes_are_told_by_their_texts_without_training(tmp_path: Path) -> None:
    told = {"classes": ["tumour=well adenocarcinoma", "normal=poorly tubular"]}
    found = omlab.load_model("cite-clip-tiny", settings=told).predict(patch())
    assert found.names == ("tumour", "normal")
    turned = omlab.load_model("cite-clip-tiny", settings={"classes": told["classes"][::-1]}).predict(patch())
    assert found.probabilities == pytest.approx(turned.probabilities[::-1])
    bert = {**told, "text": str(tiny.write_encoder(tmp_path / "bert"))}
    assert sum(omlab.load_model("cite-clip-tiny", settings=bert).predict(patch()).probabilities) == pytest.approx(1)


def test_a_folder_of_clip_loads_with_its_own_texts(tmp_path: Path) -> None:
    """As OpenAI's on the Hub: one checkpoint of both towers, config.json and the tokenizer's files."""
    import json

    from transformers.models.clip.configuration_clip import CLIPConfig
    from transformers.models.clip.modeling_clip import CLIPModel

    words = ["<|startoftext|>", "<|endoftext|>", *"abcdefgh", *(f"{letter}</w>" for letter in "abcdefgh")]
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
            "vocab_size": len(words), "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 1}  # fmt: skip
    vision = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 1,
              "image_size": 32, "patch_size": 8}  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    torch.manual_seed(0)
    theirs = CLIPModel(config).eval()
    (tmp_path / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    config.save_pretrained(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    session: Any = omlab.load_model("cite-clip", weights=tmp_path, settings={"classes": ["a b", "c"]})
    found = session.predict(patch())
    seen = session.model.prepare("predict", {"image": patch()})
    ids = [torch.tensor([[0, 10, 11, 1]]), torch.tensor([[0, 12, 1]])]
    with torch.no_grad():
        logits = torch.cat([theirs(input_ids=one, pixel_values=seen[None]).logits_per_image for one in ids], dim=1)
    assert found.probabilities == pytest.approx(logits.softmax(-1)[0].tolist(), abs=1e-4)


def test_a_checkpoint_of_upstreams_code_is_a_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = PromptedVit(TINY, prompts=PromptConfig(length=2, init="normal", mode="add"))
    network = Cite(backbone, text_width=48).eval()
    path = tmp_path / "cite.pth"
    torch.save({"meta": {}, "state_dict": network.state_dict()}, path)
    settings = {"text": str(tiny.write_encoder(tmp_path / "bert", width=48)), "mode": "add"}
    session: Any = omlab.load_model("cite-classifier", weights=path, settings=settings)
    assert session.predict(patch()).names == CLASSES
    seen = session.model.prepare("embed", {"image": patch()})
    with torch.no_grad():
        assert np.allclose(session.embed(patch()).vector, backbone(seen[None])[0], atol=1e-5)
    with pytest.raises(WeightsError, match="load it as cite-classifier"):
        omlab.load_model("cite.clip", weights=path)
    torch.save(PromptedVit(TINY).model.state_dict(), path)
    with pytest.raises(WeightsError, match="load it as cite, and adapt it"):
        omlab.load_model("cite-classifier", weights=path)
    alone: Any = omlab.load_model("cite.clip", weights=path)
    with pytest.raises(SettingsError, match="no text encoder: name a folder of one with text=FOLDER"):
        alone.model._text_encoder("", "pooled")


def test_published_tests_change_images_by_chance(tmp_path: Path) -> None:
    session = omlab.load_model("cite-clip-tiny")
    plain, changed = session.embed(patch()), session.embed(patch(), augment=True)
    assert not np.allclose(plain.vector, changed.vector)
    assert np.array_equal(changed.vector, session.embed(patch(), augment=True).vector)
    assert not np.array_equal(changed.vector, session.embed(patch(), augment=True, seed=1).vector)
    grey = Augmentation(size=16, saturation=(0.0, 0.0), mean=(0, 0, 0), std=(1, 1, 1))(patch(), 3)
    assert (grey.std(dim=0) < 0.02).all()
    assert PUBLISHED_SATURATION == (0.0, 0.2)


def test_a_class_without_a_text_is_named(root: Path) -> None:
    with pytest.raises(SettingsError, match=f"'{CLASSES[1]}' of the data has no text"):
        retargeted(root, texts=[f"{CLASSES[0]}=a"])
    stray = [*(f"{name}=a" for name in CLASSES), "more=b"]
    with pytest.raises(SettingsError, match="texts names 'more'"):
        retargeted(root, texts=stray)
    with pytest.raises(OmlabError, match="48 features cannot be compared with images of 32"):
        retargeted(root, projection=False)
    assert retargeted(root, model="cite-clip-tiny", projection=False).module.neck.state_dict() == {}
    made: Any = omlab.load_model("cite-tiny").model
    with pytest.raises(TrainingError, match="names 1 classes"):
        made.retarget("classification", omlab.About(inputs={}, classes={0: "a"}), settings=DEFAULTS, seed=0)


def test_classes_take_turns_and_slides_where_asked(root: Path) -> None:
    recipe = recipe_for(root)
    assert [int(row) for row in recipe.batches(0)["target"].argmax(1)] == [0, 1, 2, 0, 1, 2]
    labels, slides = list("aaaabbb"), ["1", "1", "1", "2", "3", "3", "3"]
    order = TurnsOrder(seed=0, turns=turns_of(labels, slides, classes=["b", "a"], by_slide=True))
    taken = [order(place)[0] for place in range(24)]
    assert all(index >= 4 for index in taken[::2])
    assert taken[1::2].count(3) == 6  # the small slide comes as often as the large one
    assert set(taken) == set(range(7))
    plain = TurnsOrder(seed=0, turns=turns_of(labels, slides, classes=["a", "b"], by_slide=False))
    assert sorted(plain(place)[0] for place in range(0, 8, 2)) == [0, 1, 2, 3]


def test_the_schedule_is_upstreams(root: Path) -> None:
    recipe = recipe_for(root)
    assert [recipe.schedule(step) for step in (0, 5)] == pytest.approx([0.005, 0.5])
    assert recipe.schedule(2) == pytest.approx(0.5 * (1 + math.cos(0.2 * math.pi)))
    assert recipe.how.optimizer == "sgd"
    assert not recipe.how.momentum
    assert {group["lr"] for group in recipe.groups()} == {0.03}
    with pytest.raises(SettingsError, match=r"warmup_steps is 11, but there are 10 steps: .* -s warmup_steps=1,"):
        recipe_for(root, warmup_steps=11)
    assert recipe_for(root, sampling="all").batches.augment.saturation == (0.8, 1.2)  # type: ignore[attr-defined]
    assert recipe_for(root, compat=True).batches.augment.saturation == PUBLISHED_SATURATION  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("more", "shape"),
    [({}, (1, 1, 64)), ({"mode": "add", "depth": "deep", "length": 3}, (2, 3, 64)), ({"length": 0}, None)],
)
def test_prompts_and_the_projection_alone_are_trained(
    root: Path, tmp_path: Path, more: dict[str, Any], shape: tuple[int, ...] | None
) -> None:
    settings = {"steps": 3, "batch_size": 3, "warmup_steps": 0, "shots": 1, **more}
    data = f"patchgastric:{root}"
    folder = adapt("cite-tiny", data, recipe="classification", output=tmp_path / "m", settings=settings).place
    stored = load_file(folder / "weights.safetensors")
    prompts = {"backbone.prompt", "backbone.prompt_started"} if shape else set()
    assert set(stored) == {"text", "neck.weight", "neck.bias"} | prompts
    assert shape is None or (stored["backbone.prompt"].shape == shape and bool(stored["backbone.prompt_started"]))
    found = omlab.load_model(folder).predict(patch())
    assert found.names == CLASSES
    assert found.probabilities == omlab.load_model(folder).predict(patch()).probabilities


def test_a_text_encoder_is_needed_for_training_alone(root: Path, tmp_path: Path) -> None:
    bert = tiny.write_encoder(tmp_path / "bert", width=40)
    settings = {"steps": 2, "batch_size": 3, "warmup_steps": 0, "shots": 1, "text": str(bert)}
    data = f"patchgastric:{root}"
    folder = adapt("cite-tiny", data, recipe="classification", output=tmp_path / "m", settings=settings).place
    (bert / "config.json").unlink()
    assert load_file(folder / "weights.safetensors")["text"].shape == (3, 40)
    assert omlab.load_model(folder).predict(patch()).names == CLASSES


@pytest.mark.slow
def test_few_slides_teach_more_than_none(tmp_path: Path) -> None:
    root = tiny.write_gastric(tmp_path / "data", slides=150, size=32)
    settings = {"steps": 200, "batch_size": 24, "shots": 4}
    data = f"patchgastric:{root}"
    folder = adapt("cite-tiny", data, recipe="classification", output=tmp_path / "m", settings=settings).place
    trained, untrained = omlab.load_model(folder), omlab.load_model("cite-clip-tiny")
    cases = [case.load() for case in omlab.load_dataset("patchgastric", root=root).cases("test")]
    right = {
        name: np.mean([one.predict(case.inputs["image"]).predicted == case.target.predicted for case in cases])  # type: ignore[union-attr]
        for name, one in (("trained", trained), ("untrained", untrained))
    }
    assert right["trained"] > right["untrained"] + 0.15


def test_slides_become_bags_of_the_encoders_features(tmp_path: Path) -> None:
    from omlab_slide.testing import draw_slide, held

    settings = {"patch": 64, "mpp": 0.5}
    slide = held(draw_slide((1024, 768)))
    bag: Any = omlab.load_model("cite-tiny-slide", settings=settings).embed(slide=slide)
    features = np.asarray(bag.features)
    assert features.shape == (len(bag.coords), 32)
    x, y = bag.coords[0]
    cut = Image(array=slide.read((int(x), int(y)), 0, (64, 64)), spacing=(0.0005, 0.0005))
    assert np.allclose(features[0], omlab.load_model("cite-tiny").embed(cut).vector, atol=1e-5)

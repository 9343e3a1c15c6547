"""The recipes under the adapters: what is learned, kept, frozen, and what comes back."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omlab.models import ModelBase, find_model, load_adapter
from omlab.settings import complete
from omlab_image import Image
from omlab_payloads.classes import Classes
from omlab_retfound.images import fine_tuning, masking
from omlab_retfound.mae import MaskedAutoencoder
from omlab_retfound.vit import RetFound
from omlab_testkit.example_data import ExampleCase, ExampleData

NAMES = ("dark", "bright")


def picture(number: int) -> Image:
    """Noise, brighter for every other one."""
    noise = np.random.default_rng(number).integers(0, 120, (72, 68, 3))
    return Image(array=(noise + 130 * (number % 2)).astype(np.uint8))


@pytest.fixture(scope="module")
def data() -> ExampleData:
    samples = [
        ExampleCase(
            id=f"case-{number:02d}",
            inputs={"image": picture(number)},
            target=Classes(names=NAMES, probabilities=[1.0 - number % 2, float(number % 2)]),
            group=f"patient-{number}",
        )
        for number in range(16)
    ]
    return ExampleData(
        samples=samples,
        kinds={"image": "image"},
        target="classes",
        classes=dict(enumerate(NAMES)),
        task="classification",
    )


def adapted(recipe: str, adapter: str, data: Any, folder: Path, *, given: Any = None, **settings: Any) -> Any:
    """The adapted tiny model, the network that it was made from, and the history."""
    ref = find_model("retfound-tiny", device="cpu")
    base = ModelBase(ref)
    chosen = complete(ref.card.trains[recipe].settings, settings, of="the recipe")
    advice = base.defaults(recipe, adapter)
    _, made, _ = load_adapter(adapter, {**advice, "workers": 0, **(given or {})})
    folder.mkdir()
    result = made.fit(base, data, recipe=recipe, settings=chosen, seed=0, folder=folder)
    model = made.restore(base, config=result.config, tensors=result.tensors)
    return model, base.trainable().module, result


@pytest.mark.parametrize(
    ("adapter", "given"), [("finetune", {}), ("finetune", {"part": "head"}), ("lora", {"rank": 4})]
)
def test_classification_is_learned_by_every_adapter(
    adapter: str, given: dict[str, Any], data: ExampleData, tmp_path: Path
) -> None:
    model, before, result = adapted(
        "classification", adapter, data, tmp_path / "work", given=given, epochs=8, batch_size=8, warmup_epochs=1,
        learning_rate=0.2, layer_decay=0.9, drop_path=0.0,
    )  # fmt: skip
    assert isinstance(model.module, RetFound)
    found = list(model.predict([model.prepare("predict", {"image": picture(number)}) for number in (100, 101)]))
    assert [one.predicted for one in found] == [("dark",), ("bright",)]
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    own = before.state_dict()
    same = {key for key, value in model.module.state_dict().items() if key in own and torch.equal(value, own[key])}
    if given.get("part") == "head":
        assert same >= {key for key in own if key.startswith(("blocks.", "pos_embed", "patch_embed."))}
    elif adapter == "lora":
        assert "patch_embed.proj.weight" in same
        assert "blocks.0.attn.qkv.weight" not in same
    else:
        assert "blocks.0.attn.qkv.weight" not in same
    vector = next(iter(model.embed([model.prepare("embed", {"image": picture(3)})])))
    assert vector.vector.shape == (128,)


def test_several_classes_an_image_have_a_threshold(data: ExampleData, tmp_path: Path) -> None:
    model, _, _ = adapted(
        "classification", "finetune", data, tmp_path / "work", epochs=1, batch_size=8, warmup_epochs=0, multi_label=True
    )
    (found,) = model.predict([model.prepare("predict", {"image": picture(0)})])
    assert found.threshold == 0.5
    assert model.config()["task"]["threshold"] == 0.5


def test_masked_autoencoding_lowers_the_loss_keeps_the_tables_and_comes_back(data: ExampleData, tmp_path: Path) -> None:
    model, before, result = adapted(
        "mae", "finetune", data, tmp_path / "work", epochs=10, batch_size=8, warmup_epochs=1, learning_rate=0.05
    )
    assert isinstance(model.module, MaskedAutoencoder)
    assert result.history[-1]["loss"] < 0.95 * result.history[0]["loss"]
    own, now = before.state_dict(), model.module.state_dict()
    assert torch.equal(own["pos_embed"], now["pos_embed"])
    assert torch.equal(own["decoder_pos_embed"], now["decoder_pos_embed"])
    assert not torch.equal(own["decoder_pred.weight"], now["decoder_pred.weight"])


def test_removed_patches_depend_on_the_generator_alone() -> None:
    network: Any = find_model("retfound-tiny", device="cpu").session().model.module  # type: ignore[attr-defined]
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        losses = [network(images, torch.Generator().manual_seed(seed))[0].item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("make", [fine_tuning, lambda form, **seen: masking(form, least_area=0.2, **seen)])
def test_training_sees_what_evaluation_sees(make: Any) -> None:
    """Standardised networks are trained on standardised images, and augmentation is a function of image and seed."""
    image = picture(1)
    usual, each = (make("mae", size=32, normalisation=name) for name in ("evaluation", "standardised"))
    seen = each(image, 7)
    assert torch.equal(seen, copy.deepcopy(each)(image, 7))
    assert not torch.equal(seen, each(image, 8))
    torch.testing.assert_close(seen.mean(dim=(1, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std(dim=(1, 2), correction=0), torch.ones(3), atol=1e-5, rtol=0)
    assert usual(image, 7).mean().abs() > 0.05

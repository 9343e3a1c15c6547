"""The recipe under the adapters, on one transformer and one convolutional network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omlab.models import ModelBase, find_model, load_adapter
from omlab.settings import complete
from omlab_image import Image
from omlab_payloads.classes import Classes
from omlab_testkit.example_data import ExampleCase, ExampleData

NAMES = ("dark", "bright")


def picture(number: int) -> Image:
    """Noise, brighter for every other one."""
    noise = np.random.default_rng(number).integers(0, 120, (72, 68, 3))
    return Image(array=(noise + 130 * (number % 2)).astype(np.uint8))


@pytest.fixture
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
    return ExampleData(samples=samples, kinds={"image": "image"}, target="classes", classes=dict(enumerate(NAMES)))


@pytest.mark.parametrize("name", ["test_vit.r160_in1k", "test_resnet.r160_in1k"])
def test_classes_are_learned_and_the_model_comes_back(name: str, data: ExampleData, tmp_path: Path) -> None:
    ref = find_model("timm.untrained", device="cpu", settings={"model": name, "size": 64})
    base = ModelBase(ref)
    given = {"epochs": 10, "batch_size": 8, "warmup_epochs": 1, "learning_rate": 0.2, "layer_decay": 0.9}
    settings: dict[str, Any] = complete(ref.card.trains["classification"].settings, given, of="the recipe")
    _, adapter, _ = load_adapter("finetune", {"workers": 0})
    result = adapter.fit(base, data, recipe="classification", settings=settings, seed=0, folder=tmp_path)
    model: Any = adapter.restore(base, config=result.config, tensors=result.tensors)
    found = list(model.predict([model.prepare("predict", {"image": picture(number)}) for number in (100, 101)]))
    assert [one.predicted for one in found] == [("dark",), ("bright",)]
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    before: Any = base.trainable()
    image = model.prepare("embed", {"image": picture(3)})
    after, own = (next(iter(one.embed([image]))).vector for one in (model, before))
    assert after.shape == own.shape
    assert not np.allclose(after, own)
    assert all(torch.isfinite(value).all() for value in model.module.state_dict().values() if value.is_floating_point())

"""`finetune` on a tiny model of its own: what a user gets, again from a file, and what she is told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from omlab.errors import SettingsError, TrainingError, UsageError
from omlab.models import load_adapter
from omlab.roles import Payload, Sample
from omlab.weights import read_state_dict, save_state_dict
from omlab_adapters.finetune import Finetune

SETTINGS = {"epochs": 3, "steps_per_epoch": 20, "batch_size": 4, "learning_rate": 0.2}


@dataclass(frozen=True)
class Vector:
    """A payload: some numbers; as a prediction one score for each class."""

    kind: ClassVar[str] = "vector"
    values: Tensor


class Classifier:
    """Tells vectors apart; its classes are 0..n-1."""

    def __init__(self, classes: int) -> None:
        self.module: nn.Module = nn.Linear(2, classes)
        self.seen: dict[str, Any] = {}

    def predict(self, payload: Payload) -> Vector:
        assert isinstance(payload, Vector)
        with torch.no_grad():
            return Vector(self.module(payload.values))

    def retarget(self, samples: Sequence[Sample], *, seed: int) -> Classifier:
        new = Classifier(classes=1 + max(int(target(sample)) for sample in samples))
        generator = torch.Generator().manual_seed(seed)
        for parameter in new.module.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        return new

    def training_task(self, samples: Sequence[Sample], *, settings: Mapping[str, Any], seed: int) -> Any:
        self.seen = dict(settings)
        return Task(self.module, samples, settings, seed)

    def config(self) -> dict[str, Any]:
        return {"classes": self.module.out_features}


class Task:
    max_grad_norm = None

    def __init__(self, module: nn.Module, samples: Sequence[Sample], settings: Mapping[str, Any], seed: int) -> None:
        self.module, self.samples, self.settings, self.seed = module, samples, settings, seed
        self.epochs, self.steps_per_epoch = settings["epochs"], settings["steps_per_epoch"]

    def batch(self, step: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(hash((self.seed, step)))
        chosen = torch.randint(len(self.samples), (self.settings["batch_size"],), generator=generator)
        x = torch.stack([vector(self.samples[int(n)]) for n in chosen])
        return {"x": x, "y": torch.stack([target(self.samples[int(n)]) for n in chosen])}

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        return nn.functional.cross_entropy(self.module(batch["x"]), batch["y"]), {}

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.module.parameters(), lr=self.settings["learning_rate"])

    def learning_rate(self, step: int) -> float:
        return float(self.settings["learning_rate"])


class Quadrants:
    """A data set of points; the target is the quadrant."""

    def __init__(self, cases: int = 24) -> None:
        points = torch.randn(cases, 2, generator=torch.Generator().manual_seed(1))
        self.samples = {
            f"case-{n}": Sample(id=f"case-{n}", payload=Vector(p), target=Vector(2 * (p[0] > 0) + (p[1] > 0)))
            for n, p in enumerate(points)
        }

    def splits(self) -> Sequence[str]:
        return ("train",)

    def ids(self, split: str) -> Sequence[str]:
        return list(self.samples)

    def files(self, id: str) -> Sequence[Path]:
        return ()

    def sample(self, id: str) -> Sample:
        return self.samples[id]

    def prepare(self) -> None: ...

    def verify(self) -> Sequence[str]:
        return ()


def vector(sample: Sample) -> Tensor:
    assert isinstance(sample.payload, Vector)
    return sample.payload.values


def target(sample: Sample) -> Tensor:
    assert isinstance(sample.target, Vector)
    return sample.target.values.long()


def accuracy(model: Any, data: Quadrants) -> float:
    hits = [int(model.predict(s.payload).values.argmax()) == int(target(s)) for s in data.samples.values()]
    return sum(hits) / len(hits)


def finetune(**settings: Any) -> Finetune:
    adapter = load_adapter("finetune", {**SETTINGS, **settings})[1]
    assert isinstance(adapter, Finetune)
    return adapter


def test_learns_new_classes_and_comes_back_from_its_files(tmp_path: Path) -> None:
    data, base = Quadrants(), Classifier(2)
    before = deepcopy(base.module.state_dict())
    adapter = finetune(patch_size="8,8,16")
    adapted = adapter.fit(base, data, device="cpu", seed=0, folder=tmp_path)
    assert accuracy(adapted.model, data) > 0.8
    assert [row["epoch"] for row in adapted.history] == [1, 2, 3]
    assert adapted.history[-1]["loss"] < adapted.history[0]["loss"]
    for name, tensor in base.module.state_dict().items():
        assert torch.equal(tensor, before[name]), "the model that is adapted must stay as it is"
    assert isinstance(adapted.model, Classifier)
    assert adapted.model.seen == {**SETTINGS, "patch_size": [8, 8, 16], "spacing": [], "augment": True}

    save_state_dict(adapted.tensors, tmp_path / "weights.safetensors")

    def build(*, weights: Path | None, config: Mapping[str, Any] | None) -> Classifier:
        assert weights is not None
        assert config is not None
        model = Classifier(config["classes"])
        model.module.load_state_dict(read_state_dict(weights))
        return model

    config = json.loads(json.dumps(dict(adapted.config)))
    restored = finetune().restore(build, config=config, weights=tmp_path / "weights.safetensors")
    for sample in data.samples.values():
        found, expected = restored.predict(sample.payload), adapted.model.predict(sample.payload)
        assert isinstance(found, Vector)
        assert isinstance(expected, Vector)
        assert torch.equal(found.values, expected.values)


def test_same_seed_same_weights(tmp_path: Path) -> None:
    tensors = [
        finetune().fit(Classifier(2), Quadrants(), device="cpu", seed=seed, folder=tmp_path / str(n)).tensors
        for n, seed in enumerate((5, 5, 6))
    ]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    assert not all(torch.equal(tensors[0][name], tensors[2][name]) for name in tensors[0])


class OnlyPredicts:
    def predict(self, payload: Payload) -> Payload:
        return payload


class Unsplit(Quadrants):
    def splits(self) -> Sequence[str]:
        return ("val", "test")


def test_says_what_cannot_be_trained(tmp_path: Path) -> None:
    def fit(model: Any, data: Any) -> None:
        finetune().fit(model, data, device="cpu", seed=0, folder=tmp_path)

    with pytest.raises(UsageError, match="OnlyPredicts cannot be fine-tuned: it lacks the capability 'finetune'"):
        fit(OnlyPredicts(), Quadrants())
    with pytest.raises(UsageError, match="has no split 'train' to train on; it has val, test"):
        fit(Classifier(2), Unsplit())
    with pytest.raises(TrainingError, match="The split 'train' of the data set is empty"):
        fit(Classifier(2), Quadrants(cases=0))
    data = Quadrants()
    data.samples["case-3"] = replace(data.samples["case-3"], target=None)
    with pytest.raises(TrainingError, match="Case 'case-3' has no target"):
        fit(Classifier(2), data)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patch_size", "64,64"),
        ("patch_size", "64,64,0"),
        ("patch_size", "64,64,32.5"),
        ("patch_size", "64,big,64"),
        ("spacing", "1,1,-1"),
        ("spacing", [True, True, True]),
        ("learning_rate", 0),
        ("learning_rate", "nan"),
        ("epochs", 0),
    ],
)
def test_refuses_settings_that_cannot_be(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"'{name}'"):
        finetune(**{name: value})

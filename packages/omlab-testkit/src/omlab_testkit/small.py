"""A small model and data set to try adapters on: points in a plane, of one of two kinds.

The model embeds, predicts classes, and has two recipes: `classification`, and `reconstruction`, which needs no targets.
Its kinds `embedding` and `classes` are those of omlab-payloads; its input's kind is the kit's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from omlab import About, take
from omlab.card_schema import ModelCard
from omlab.payloads import Inputs
from omlab.roles import Dataset
from omlab.session import Session
from omlab_testkit.example_data import ExampleCase, ExampleData

CLASSES = ("left", "right")
CASES = 16
_CARD = {
    "name": "testkit-small",
    "summary": "Tells points on the left from those on the right.",
    "entry": "omlab_testkit.small:SmallModel",
    "licence": "Apache-2.0",
    "citation": "None.",
    "intended_use": "Trying adapters.",
    "limits": "Everything else.",
    "does": {
        "embed": {"takes": {"place": "testkit-place"}, "gives": "embedding", "batch": 8},
        "predict": {"takes": {"place": "testkit-place"}, "gives": "classes", "batch": 8},
    },
    "trains": {
        "classification": {"target": "classes", "gives": {"predict": "classes"}},
        "reconstruction": {},
    },
}


@dataclass(frozen=True)
class Place:
    """A point in a plane."""

    kind: ClassVar[str] = "testkit-place"
    x: float
    y: float


class Stopped(BaseException):  # as KeyboardInterrupt: what a run that is stopped raises
    """A training that was interrupted on purpose."""


class Net(nn.Module):
    """Places (N, 2) -> features (N, 8) -> scores (N, classes), or the places again."""

    def __init__(self, *, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
        self.head = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        scores: Tensor = self.head(self.body(x))
        return scores


class SmallModel:
    """The model (`omlab.roles.Model`, `omlab.roles.Trainable`)."""

    def __init__(self, *, classes: Sequence[str], device: str = "cpu") -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.module = Net(outputs=len(classes)).to(device).eval()
        self.classes = tuple(classes)
        self.device = device

    def embed(self, batch: Sequence[Inputs], /) -> Iterable[Any]:
        """The features of places."""
        from omlab_payloads.embedding import Embedding

        with torch.inference_mode():
            found = self.module.body(_stacked(batch).to(self.device)).cpu().numpy()
        return [Embedding(vector=vector) for vector in found]

    def predict(self, batch: Sequence[Inputs], /) -> Iterable[Any]:
        """On which side places are."""
        from omlab_payloads.classes import Classes

        with torch.inference_mode():
            found = self.module(_stacked(batch).to(self.device)).softmax(1).cpu().tolist()
        return [Classes(names=self.classes, probabilities=row) for row in found]

    def layers(self) -> Sequence[Sequence[str]]:
        """From input to head."""
        return [[f"{part}.weight", f"{part}.bias"] for part in ("body.0", "body.2", "head")]

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> SmallModel:
        """A copy with a head for the targets."""
        other = SmallModel(classes=tuple(about.classes.values()) if about.classes else ("x", "y"), device=self.device)
        other.module.body.load_state_dict(deepcopy(self.module.body.state_dict()))
        return other

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> SmallRecipe:
        """What is minimised."""
        samples = [case.load() for case in data.cases("train")]
        x = _stacked([sample.inputs for sample in samples])
        if recipe == "reconstruction":
            return SmallRecipe(self.module, x, x, seed=seed)
        targets = [self.classes.index(sample.target.predicted[0]) for sample in samples]  # type: ignore[union-attr]
        return SmallRecipe(self.module, x, torch.tensor(targets), seed=seed)

    def config(self) -> dict[str, Any]:
        """How many classes, and which."""
        return {"classes": list(self.classes)}


@dataclass(frozen=True)
class Batches:
    """Half of the cases, drawn by seed and number."""

    x: Tensor
    y: Tensor
    seed: int

    def __call__(self, number: int) -> dict[str, Tensor]:
        """The batch of that number."""
        generator = torch.Generator().manual_seed(1000 * self.seed + number)
        chosen = torch.randperm(len(self.x), generator=generator)[: len(self.x) // 2]
        return {"x": self.x[chosen], "y": self.y[chosen]}


class SmallRecipe:
    """Classification, or reconstruction where the targets are places (`omlab_train.Recipe`).

    `asked` counts for how many batches losses were computed; at `stop_at` the training is interrupted.
    """

    steps, epoch = 12, 3
    asked: ClassVar[int] = 0
    stop_at: ClassVar[int | None] = None

    def __init__(self, module: nn.Module, x: Tensor, y: Tensor, *, seed: int) -> None:
        from omlab_train import Optimisation

        self.module, self.batches, self.seed = module, Batches(x, y, seed), seed
        self.how = Optimisation(optimizer="adamw")
        self.fingerprint = f"small-{seed}-{len(x)}"

    def groups(self) -> list[dict[str, Any]]:
        """All parameters alike."""
        return [{"params": list(self.module.parameters()), "lr": 0.05, "weight_decay": 0.0}]

    def schedule(self, step: int) -> float:
        """A constant rate."""
        return 1.0

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """Cross-entropy or squared error."""
        if SmallRecipe.asked == SmallRecipe.stop_at:
            raise Stopped
        SmallRecipe.asked += 1
        found, wanted = self.module(batch["x"]), batch["y"]
        function = nn.functional.mse_loss if wanted.is_floating_point() else nn.functional.cross_entropy
        return function(found, wanted), {}

    def validate(self) -> None:
        """Nothing."""


class SmallBase:
    """The model as adapters see it (`omlab.roles.Base`)."""

    device = "cpu"

    def __init__(self) -> None:
        self.card = ModelCard.model_validate(_CARD)
        self._session = self.held(SmallModel(classes=CLASSES))

    def held(self, model: Any, *, does: Mapping[str, Any] | None = None) -> Session:
        """A session that holds a model to the card, or to other verbs."""
        card = self.card if does is None else ModelCard.model_validate({**_CARD, "does": dict(does)})
        return Session(model, card=card, identity={"name": self.card.name}, name=self.card.name)

    def session(self) -> Session:
        """The session, the same each time."""
        return self._session

    def trainable(self, *, device: str | None = None) -> SmallModel:
        """The model, built anew."""
        return SmallModel(classes=CLASSES, device=device or self.device)

    def build(self, *, config: Mapping[str, Any] | None, weights: Path | None) -> SmallModel:
        """The model with that configuration and those tensors."""
        from omlab.weights import Weights

        model = SmallModel(classes=config["classes"] if config else CLASSES)
        if weights is not None:
            Weights.plain(weights, tag="adapted").load(model.module)
        return model

    def defaults(self, recipe: str | None, adapter: str) -> Mapping[str, Any]:
        """No advice."""
        return {}


def small_data() -> ExampleData:
    """Sixteen points, half of them left and half right."""
    from omlab_payloads.classes import Classes

    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(CASES, 2, generator=generator).tolist()
    samples = []
    for number, (dx, dy) in enumerate(noise):
        side = number % 2
        target = Classes(names=CLASSES, probabilities=[1.0 - side, float(side)])
        place = Place(4.0 * side - 2.0 + 0.5 * dx, dy)
        samples.append(
            ExampleCase(id=f"place-{number:02d}", inputs={"place": place}, target=target, group=f"g{number}")
        )
    return ExampleData(
        samples=samples,
        kinds={"place": Place.kind},
        target="classes",
        classes=dict(enumerate(CLASSES)),
        task="classification",
    )


def _stacked(batch: Sequence[Inputs]) -> Tensor:
    places = [take(inputs, "place", Place) for inputs in batch]
    return torch.tensor([[place.x, place.y] for place in places])

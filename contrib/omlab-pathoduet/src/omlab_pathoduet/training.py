"""The recipes: the four pre-training tasks and fine-tuning to classes, with upstream's constants (as the cards say)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

from omlab import Sample
from omlab.digests import digest_of
from omlab.roles import Case, Dataset
from omlab_image.training import ClassificationRecipe, Course
from omlab_image.training.cases import TRAIN, VAL, cases_of, figures_of, loaded
from omlab_image.training.self_supervised import MAE_BETAS, mean_figures
from omlab_pathoduet.images import as_it_is, fine_tuning, transform
from omlab_pathoduet.views import MaskedPair, PairOfStains, PatchInRegion, TwoViews
from omlab_train import Group, Optimisation
from omlab_train.order import Order

if TYPE_CHECKING:
    from omlab_pathoduet.model import PathoDuetModel

ViewsOf = Callable[[Sample, int], dict[str, Tensor]]
UNDECAYED = ("cls_token", "pretext_token", "pos_embed")


def momentum_at(epoch: float, *, epochs: float, first: float) -> float:
    """How much of itself the momentum encoder keeps after `epoch` epochs: from `first` to 1, by half a cosine."""
    return 1 - 0.5 * (1 + math.cos(math.pi * epoch / epochs)) * (1 - first)


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskBatches:
    """Batches for `omlab_train.Recipe`: a function of seed and number alone.

    Attributes:
        cases: Read when their turn comes.
        order: Which case comes when.
        batch_size: Cases in a batch.
        views: (sample, seed) -> what the task is shown of a case.
    """

    cases: tuple[Case, ...]
    order: Order
    batch_size: int
    views: ViewsOf

    draws_globally = True  # torchvision does, within the seed of each case

    def __call__(self, number: int) -> dict[str, Any]:
        """`views`, each stacked, and `number`, by which the momentum goes."""
        first = number * self.batch_size
        return self.of([self.order(place) for place in range(first, first + self.batch_size)], number)

    def of(self, drawn: list[tuple[int, int]], number: int) -> dict[str, Any]:
        """The batch of cases by (index, seed)."""
        found = [self.views(loaded(self.cases[index]), seed) for index, seed in drawn]
        return {
            "views": {name: torch.stack([one[name] for one in found]) for name in found[0]},
            "number": torch.tensor(number),
        }


class TaskRecipe:
    """Pre-trains a network by a task of its own; fulfils `omlab_train.Recipe`.

    AdamW at one rate with the weight decay on every parameter, as published. After each epoch the split `val`, where
    there is one, gives the loss of always the same draws.

    Args:
        module: `module(views, momentum=...)` gives (loss, figures).
        data: What the views are of.
        views: (sample, seed) -> what the task is shown; its `repr` says all that it does.
        settings: Those of `Course`, and `momentum`, what the momentum encoder keeps of itself at first.
        betas: Of AdamW.
        seed: What all randomness comes from.
    """

    def __init__(
        self,
        *,
        module: nn.Module,
        data: Dataset,
        views: ViewsOf,
        settings: Mapping[str, Any],
        seed: int,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self.module = self._network = module  # the loop may wrap what it is given
        self.course = Course.of(settings, betas=betas, min_learning_rate=0.0)
        self._first_momentum = float(settings.get("momentum", 1.0))
        cases, val = cases_of(data, TRAIN), cases_of(data, VAL)
        self.batches = self._batches(cases, views, seed)
        self._validation = self._batches(val, views, seed) if val else None
        self.epoch = self.course.epoch(len(cases))
        self.steps = self.course.epochs * self.epoch
        self._data = data.digest(TRAIN)

    def _batches(self, cases: tuple[Case, ...], views: ViewsOf, seed: int) -> TaskBatches:
        order = Order(count=len(cases), seed=seed)
        return TaskBatches(cases=cases, order=order, batch_size=self.course.batch_size, views=views)

    @property
    def how(self) -> Optimisation:
        """AdamW; a momentum encoder's parameters never have a gradient."""
        return replace(self.course.how, find_unused_parameters=True)

    @property
    def fingerprint(self) -> str:
        """Digest of all that the batches depend on: a checkpoint of another one is not resumed."""
        batches = self.batches
        what = [batches.order.seed, repr(batches.views), self._first_momentum, type(self._network).__name__]
        return digest_of([self._data, asdict(self.course), what])

    def groups(self) -> list[Group]:
        """All that learns, in one group; the momentum encoder follows without a gradient."""
        named = self._network.named_parameters()
        learning = [parameter for name, parameter in named if not name.startswith("momentum_encoder.")]
        return [{"params": learning, "lr": self.course.rate, "weight_decay": self.course.weight_decay}]

    def schedule(self, step: int) -> float:
        """The rise and half a cosine, in every step."""
        return self.course.factor(step, epoch=self.epoch)

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, float]]:
        """What the module says of a batch, in the step that the batch belongs to."""
        processes = distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
        step = int(batch["number"]) // (self.course.accumulate * processes)
        momentum = momentum_at(step / self.epoch, epochs=self.course.epochs, first=self._first_momentum)
        loss, figures = self.module(batch["views"], momentum=momentum)
        return loss, figures_of(figures)

    def validate(self) -> Mapping[str, float] | None:
        """The mean loss of the split `val`; None where there is none."""
        device = next(self.module.parameters()).device
        return None if self._validation is None else mean_figures(self.loss, self._validation, device=device)


def moco(model: PathoDuetModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> TaskRecipe:
    """MoCo v3 on patches, stage 0."""
    views = TwoViews(size=model.size, least_area=settings["least_area"])
    return TaskRecipe(module=model.module, data=data, views=views, settings=settings, seed=seed)


def cross_scale(model: PathoDuetModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> TaskRecipe:
    """Patches and their regions, task 1: the H&E model."""
    views = PatchInRegion(views=TwoViews(size=model.size, least_area=settings["least_area"]))
    return TaskRecipe(module=model.module, data=data, views=views, settings=settings, seed=seed)


def cross_stain(model: PathoDuetModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> TaskRecipe:
    """Pairs of stains, task 2: the IHC model."""
    return TaskRecipe(module=model.module, data=data, views=PairOfStains(size=model.size), settings=settings, seed=seed)


def multi_stain(model: PathoDuetModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> TaskRecipe:
    """Pairs of stains, one painted from the other: the older task."""
    views = MaskedPair(size=model.size, patches=model.module.config.grid**2)
    return TaskRecipe(module=model.module, data=data, views=views, settings=settings, seed=seed, betas=MAE_BETAS)


def classification(
    model: PathoDuetModel, data: Dataset, *, settings: Mapping[str, Any], seed: int
) -> ClassificationRecipe:
    """Fine-tuning to the classes of patches, without normalisation as everywhere."""
    return ClassificationRecipe(
        module=model.module,
        layers=model.layers(),
        data=data,
        classes=model.task.classes,
        augment=fine_tuning(model.size, least_area=settings["least_area"]),
        prepare=transform(model.size, view=model.view),
        settings=settings,
        seed=seed,
        before=as_it_is,
        undecayed=UNDECAYED,
    )


RECIPES = {
    "moco": moco,
    "cross-scale": cross_scale,
    "cross-stain": cross_stain,
    "multi-stain": multi_stain,
    "classification": classification,
}

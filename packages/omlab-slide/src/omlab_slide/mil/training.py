"""The recipes of slide networks: classes of bags with CLAM's instance loss where the network has it, and survival.

The published settings are those of CLAM (Lu et al. 2021): Adam, 1e-4 with weight decay 1e-5, one bag a step, classes
drawn equally often, and an end when the loss on `val` was not lower for 20 epochs, after the 50th.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omlab import Sample
from omlab.digests import digest_of
from omlab.errors import InputError, OmlabError, TrainingError
from omlab.payloads import an, describe
from omlab.roles import Case, Dataset
from omlab_payloads.classes import Classes
from omlab_payloads.scores import Scores
from omlab_slide.mil.inputs import bags_of, features_of
from omlab_slide.mil.losses import ROW_LOSSES, instance_loss, survival_loss
from omlab_slide.mil.output import MilOutput
from omlab_slide.mil.packed import Packed
from omlab_slide.mil.task import Task
from omlab_train import Group, Optimisation
from omlab_train.order import Order, balanced
from omlab_train.settings import mixed_seed

TRAIN, VAL = "train", "val"
KEPT_BYTES = 1 << 30
"""Features that stay in the memory of a process that makes batches."""
Read = tuple[list[Tensor], int, float]
"""The bags of a case, its class or interval, and whether the event was in it."""


class _Kept:
    """Cases that were read, as far as they fit into memory; of a copy in another process nothing."""

    def __init__(self) -> None:
        self._cases: dict[str, Read] = {}
        self._bytes = 0

    def __call__(self, id: str, read: Callable[[], Read], *, keeps: bool) -> Read:
        if id in self._cases:
            return self._cases[id]
        found = read()
        size = sum(bag.nbytes for bag in found[0])
        if keeps and self._bytes + size <= KEPT_BYTES:
            self._cases[id] = found
            self._bytes += size
        return found

    def __reduce__(self) -> tuple[type[_Kept], tuple[()]]:
        return _Kept, ()


@dataclass(frozen=True, eq=False, kw_only=True)
class BagBatches:
    """Batches for `omlab_train.Recipe`: a function of seed and number alone.

    Attributes:
        cases: With bags among their inputs; read when their turn comes.
        task: What their targets tell.
        order: Which case comes when.
        batch_size: Cases in a batch.
        width: Of the features.
        patches: Of each slide, drawn anew each time; 0: all.
        several: "packed": the slides of a case are one bag; "logits": each is one.
    """

    cases: tuple[Case, ...]
    task: Task
    order: Order
    batch_size: int
    width: int
    patches: int
    several: str
    _kept: _Kept = field(default_factory=lambda: _Kept(), init=False)

    def __call__(self, number: int) -> dict[str, Tensor]:
        """A batch of C cases with B bags.

        `features` (sum N, D), `offsets` (B + 1,), `mean` (C, B) the share of each bag in the logits of its case,
        `label` (C,) the class or the interval, `event` (C,).
        """
        places = range(number * self.batch_size, (number + 1) * self.batch_size)
        return self.of([(self.cases[index], seed) for index, seed in map(self.order, places)])

    def of(self, chosen: Sequence[tuple[Case, int | None]]) -> dict[str, Tensor]:
        """A batch of these cases; the seed of each is that of its draw of patches, None: all patches."""
        bags: list[Tensor] = []
        owners, labels, events = [], [], []
        for place, (case, seed) in enumerate(chosen):
            found, label, event = self._kept(case.id, lambda: self._read(case, seed), keeps=not self.patches)  # noqa: B023
            bags += found
            owners += [place] * len(found)
            labels.append(label)
            events.append(event)
        packed = Packed.of(bags)
        mean = torch.nn.functional.one_hot(torch.tensor(owners), len(chosen)).T.float()
        return {
            "features": packed.features,
            "offsets": packed.offsets,
            "mean": mean / mean.sum(dim=1, keepdim=True),
            "label": torch.tensor(labels),
            "event": torch.tensor(events),
        }

    def _read(self, case: Case, seed: int | None) -> Read:
        """The bags of a case, as they are classified, and its target."""
        sample = loaded(case)
        found = self._features(sample, seed)
        label, event = target_of(sample, self.task)
        return [torch.cat(found)] if self.several == "packed" else found, label, event

    def _features(self, sample: Sample, seed: int | None) -> list[Tensor]:
        found = []
        for place, bag in enumerate(bags_of(sample.inputs, None)):
            rows = None
            if seed is not None and 0 < self.patches < len(bag):
                draw = np.random.default_rng(mixed_seed(seed, place) % 2**64)
                rows = np.sort(draw.choice(len(bag), self.patches, replace=False)).tolist()
            found.append(features_of(bag, width=self.width, name=f"Case '{sample.id}'", rows=rows))
        return found


class MilRecipe:
    """Trains `module` on bags; fulfils `omlab_train.Recipe`.

    Settings: `epochs`, `batch_size`, `learning_rate`, `weight_decay`, `balanced`, `patches`, `patience`,
    `patience_after`; of classes `bag_loss`, and of CLAM `bag_weight`, `instance_loss`, `subtyping`.

    Args:
        module: Takes (features, offsets, labels, others=) and gives a `MilOutput`.
        width: Of the features.
        task: Classes, or survival.
        several: How the slides of a case are put together.
        data: Its cases have bags among their inputs and `Classes`, or `Scores` time and event, as targets.
        settings: Complete.
        seed: What all randomness comes from.

    Raises `TrainingError` where there is nothing to train on.
    """

    def __init__(
        self,
        *,
        module: nn.Module,
        width: int,
        task: Task,
        several: str,
        data: Dataset,
        settings: Mapping[str, Any],
        seed: int,
    ) -> None:
        self.module, self.task, self.settings = module, task, dict(settings)
        cases = tuple(data.cases(TRAIN)) if TRAIN in data.splits() else ()
        if not cases:
            raise TrainingError("There is no case to train on: the data set's training split is empty.")
        weights = None
        if task.classes and settings["balanced"]:
            weights = balanced([frozenset([task.classes[label]]) for label in self._labels(cases)])
        self.batches = BagBatches(
            cases=cases,
            task=task,
            order=Order(count=len(cases), seed=seed, weights=weights),
            batch_size=settings["batch_size"],
            width=width,
            patches=settings["patches"],
            several=several,
        )
        self.epoch = -(-len(cases) // settings["batch_size"])
        self.steps = settings["epochs"] * self.epoch
        self._val = tuple(data.cases(VAL)) if VAL in data.splits() else ()
        self._digests = [data.digest(TRAIN), data.digest(VAL) if self._val else ""]

    @property
    def how(self) -> Optimisation:
        """Adam; with a split `val` the epoch with the lowest loss there."""
        settings = self.settings
        stops = {"best": "loss", "patience": settings["patience"], "patience_after": settings["patience_after"]}
        return Optimisation(optimizer="adam", find_unused_parameters=True, **(stops if self._val else {}))

    @property
    def fingerprint(self) -> str:
        """Digest of settings, data and task."""
        return digest_of([self.settings, self._digests, self.task.to_config(), self.batches.several])

    def groups(self) -> list[Group]:
        """All parameters alike."""
        parameters = list(self.module.parameters())
        return [
            {"params": parameters, "lr": self.settings["learning_rate"], "weight_decay": self.settings["weight_decay"]}
        ]

    def schedule(self, step: int) -> float:
        """The rate stays as it is."""
        return 1.0

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The loss of a batch, and of a network with an instance branch its two parts."""
        if self.task.times:
            return self._bag_loss(self.module(batch["features"], batch["offsets"]), batch), {}
        others = bool(self.settings.get("subtyping", False))
        labels = batch["label"][batch["mean"].argmax(dim=0)]  # of bags
        output: MilOutput = self.module(batch["features"], batch["offsets"], labels, others=others)
        if output.loss is not None:
            return output.loss, {}
        bag = self._bag_loss(output, batch)
        if output.instances is None:
            return bag, {}
        instance = instance_loss(
            output.instances,
            loss=ROW_LOSSES[self.settings["instance_loss"]],
            bags=len(labels),
            classes=self.task.outputs,
            others=others,
        )
        weight = self.settings["bag_weight"]
        return weight * bag + (1 - weight) * instance, {
            "bag": float(bag.detach()),
            "instance": float(instance.detach()),
        }

    def _bag_loss(self, output: MilOutput, batch: Mapping[str, Tensor]) -> Tensor:
        logits = batch["mean"] @ output.logits.float()
        if self.task.times:
            return survival_loss(logits, batch["label"], batch["event"])
        return ROW_LOSSES[self.settings.get("bag_loss", "ce")](logits, batch["label"])

    def validate(self) -> Mapping[str, float] | None:
        """The mean loss of bags of the split `val`, and of classes the accuracy; None where there is none."""
        if not self._val:
            return None
        device = next(self.module.parameters()).device
        losses, right = [], []
        for case in self._val:
            batch = {name: tensor.to(device) for name, tensor in self.batches.of([(case, None)]).items()}
            output = self.module(batch["features"], batch["offsets"])
            losses.append(float(self._bag_loss(output, batch)))
            right.append(float((batch["mean"] @ output.logits.float()).argmax() == batch["label"][0]))
        figures = {"loss": float(np.mean(losses))}
        return figures if self.task.times else {**figures, "accuracy": float(np.mean(right))}

    def _labels(self, cases: Sequence[Case]) -> list[int]:
        """The class of each case: what it says of itself (`label`), else what is in its target, read once."""
        names = self.task.classes
        said = [getattr(case, "label", None) for case in cases]
        if all(label in names for label in said):
            return [names.index(str(label)) for label in said]
        return [target_of(loaded(case), self.task)[0] for case in cases]


def loaded(case: Case) -> Sample:
    """Read a case. Raises `InputError` that names it."""
    try:
        return case.load()
    except OmlabError as error:
        raise InputError(f"Case '{case.id}' cannot be read: {error}") from error


def target_of(sample: Sample, task: Task) -> tuple[int, float]:
    """The class of a sample, or its interval of time, and whether the event was in it (1, else 0).

    Raises `TrainingError` that names the case.
    """
    target = sample.target
    if task.times:
        if not isinstance(target, Scores) or not {"time", "event"} <= target.values.keys():
            raise TrainingError(f"Case '{sample.id}' has {_said(target)}; survival needs the scores time and event.")
        time, event = target.values["time"], target.values["event"]
        if not time >= 0 or event not in (0, 1):
            raise TrainingError(f"Case '{sample.id}' has time {time} and event {event}: 0 or more, and 0 or 1.")
        place, was = task.interval(time, event=bool(event))
        return place, float(was)
    if not isinstance(target, Classes):
        raise TrainingError(f"Case '{sample.id}' has {_said(target)}; training needs classes.")
    if len(target.predicted) != 1 or target.predicted[0] not in task.classes:
        found = ", ".join(target.predicted) or "none"
        raise TrainingError(f"Case '{sample.id}' has the class '{found}', not one of {', '.join(task.classes)}.")
    return task.classes.index(target.predicted[0]), 0.0


def _said(target: Any) -> str:
    return "no target" if target is None else f"{an(describe(target))} as its target"

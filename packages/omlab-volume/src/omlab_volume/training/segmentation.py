"""Training a segmentation network on volumes: cases in memory, random patches, nnU-Net's recipe.

`SegmentationTask` is what `omlab_train.fit` trains; it knows nothing of the loop, and the loss is given to it:

    cases = load_cases(samples, plan)
    task = SegmentationTask(module=module, cases=cases, patch_size=plan.patch_size, ..., loss=loss, seed=0)
    history = omlab_train.fit(task, folder=folder, device="cpu", seed=0)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from omlab import progress
from omlab.errors import GeometryError, InputError, TrainingError
from omlab.roles import Sample
from omlab_volume.inference.preprocess import Plan, prepare, prepare_labels
from omlab_volume.training.augment import augment, spatial_matrix
from omlab_volume.training.patches import Locations, cut, cut_turned, draw_start, foreground_locations
from omlab_volume.volume import LabelMap, Volume

Loss = Callable[[Sequence[Tensor], Tensor], Tensor]

WEIGHT_DECAY = 3e-5
MAX_GRAD_NORM = 12.0
FOREGROUND_PATCHES = 1 / 3
POLY_POWER = 0.9


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """One prepared case: `image` (C, Z, Y, X) float32, normalised, and `labels` (Z, Y, X), 0 the background."""

    id: str
    image: NDArray[np.float32]
    labels: NDArray[np.integer]
    locations: Locations = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.image.ndim != 4 or self.image.shape[1:] != self.labels.shape:
            raise TrainingError(
                f"Case '{self.id}' has an image of shape {self.image.shape} and labels of shape {self.labels.shape}; "
                "they must share their last three axes."
            )
        if not self.labels.any():
            raise TrainingError(f"Case '{self.id}' has no labelled voxel: leave it out or label it.")
        object.__setattr__(self, "image", np.asarray(self.image, dtype=np.float32))
        # The seed is fixed: which voxels stand for a class must not depend on who trains.
        object.__setattr__(self, "locations", foreground_locations(self.labels, np.random.default_rng(0)))


def load_cases(
    samples: Sequence[Sample], plan: Plan, *, classes: Sequence[int] | None = None, channels: int | None = None
) -> list[Case]:
    """Prepare samples (a `Volume` with a `LabelMap` as target) for training with `plan`, all in memory.

    Args:
        samples: With targets on the grids of their images.
        plan: How the network wants its images.
        classes: Label values of the network's outputs 1, 2, ...; left out: the values are those numbers.
        channels: How many channels the network takes, if that is to be checked.

    Raises:
        TrainingError: There is no sample, or one has no target, no labelled voxel, or a label that is not among
            `classes`; names the case.
        InputError: An image cannot be used, or lies on another grid than its labels; names the case.
    """
    if not samples:
        raise TrainingError("There is no case to train on: the data set's training split is empty.")
    with progress.bar("preparing cases", total=len(samples)) as advance:
        cases = []
        for sample in samples:
            cases.append(_case(sample, plan, classes=classes, channels=channels))
            advance(1)
    return cases


def _case(sample: Sample, plan: Plan, *, classes: Sequence[int] | None, channels: int | None) -> Case:
    volume, target = sample.payload, sample.target
    if not isinstance(volume, Volume) or not isinstance(target, LabelMap):
        found = "no target" if target is None else f"a {volume.kind} with a {target.kind}"
        raise TrainingError(
            f"Case '{sample.id}' has {found}; training a segmentation needs a volume with a labelmap as its target."
        )
    if not target.same_grid(volume):
        raise GeometryError(
            f"Case '{sample.id}': the labels ({target.grid.shape} voxels) are not on the grid of their image "
            f"({volume.grid.shape} voxels); shape or position differ."
        )
    if classes is not None:
        target = replace(target, array=_class_numbers(target.array, classes, id=sample.id))
    try:
        prepared = prepare(volume, plan, channels=channels)
        labels = prepare_labels(target, prepared)
    except InputError as error:
        raise type(error)(f"Case '{sample.id}': {error}") from error
    return Case(id=sample.id, image=prepared.array, labels=labels)


def _class_numbers(array: NDArray[Any], classes: Sequence[int], *, id: str) -> NDArray[Any]:
    """`array` with 0 for 0 and n for the n-th of `classes` (from 1)."""
    values, places = np.unique(array, return_inverse=True)
    numbers = {0: 0, **{value: n for n, value in enumerate(classes, start=1)}}
    unknown = [int(value) for value in values if int(value) not in numbers]
    if unknown:
        raise TrainingError(f"Case '{id}' has the label {unknown[0]}, which is not one of the classes {list(classes)}.")
    table = np.array([numbers[int(value)] for value in values], dtype=np.min_scalar_type(len(classes)))
    return table[places].reshape(array.shape)


class SegmentationTask:
    """Trains `module` to segment patches of `cases`, with the recipe of nnU-Net's trainer.

    SGD with Nesterov momentum, weight decay 3e-5, gradients clipped at norm 12, the poly learning rate set once
    an epoch. A third of the patches is placed on a voxel of a class, each class equally likely. Patch, case and
    augmentation are functions of seed and step alone. Fulfils `omlab_train.task.TrainingTask`.

    Args:
        module: Takes (B, C, Z, Y, X) float32; in training mode gives logits (B, K, Z, Y, X), or a sequence of
            them with full resolution first (deep supervision).
        cases: What to train on.
        patch_size: Z, Y, X voxels that the network takes.
        batch_size: Patches in a step.
        steps_per_epoch: Steps between two checkpoints and two rates.
        epochs: Epochs in all.
        learning_rate: The first one.
        loss: Of the outputs (always a list) and the labels (B, Z, Y, X) int64.
        seed: What all randomness comes from.
        augment: Whether to change patches at random (`omlab_volume.training.augment`).
        mirror_axes: Axes of Z, Y, X that augmentation may flip. Classes that differ by their side alone (left
            and right kidney) are told apart better where the left-right axis is left out.
        momentum: Of SGD. nnU-Net's 0.99 is for many thousands of steps; a few hundred do better with 0.9.
    """

    max_grad_norm: float | None = MAX_GRAD_NORM

    def __init__(
        self,
        *,
        module: nn.Module,
        cases: Sequence[Case],
        patch_size: Sequence[int],
        batch_size: int,
        steps_per_epoch: int,
        epochs: int,
        learning_rate: float,
        loss: Loss,
        seed: int,
        augment: bool = True,
        mirror_axes: Sequence[int] = (0, 1, 2),
        momentum: float = 0.99,
    ) -> None:
        if not cases:
            raise TrainingError("There is no case to train on.")
        channels = {case.image.shape[0] for case in cases}
        if len(channels) > 1:
            raise TrainingError(f"The cases differ in their number of channels: {sorted(channels)}.")
        if len(patch_size) != 3 or min(patch_size) < 1:
            raise TrainingError(f"patch_size is three numbers of voxels (z, y, x), not {list(patch_size)}.")
        for name, value in (("batch_size", batch_size), ("steps_per_epoch", steps_per_epoch), ("epochs", epochs)):
            if value < 1:
                raise TrainingError(f"{name} must be at least 1, not {value}.")
        if learning_rate <= 0:
            raise TrainingError(f"learning_rate must be above 0, not {learning_rate}.")
        self.module = module
        self.cases = list(cases)
        self.patch_size = tuple(int(n) for n in patch_size)
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.epochs = epochs
        self.initial_learning_rate = learning_rate
        self.seed = seed
        self.augment = augment
        self.mirror_axes = tuple(mirror_axes)
        self.momentum = momentum
        self._loss = loss

    def batch(self, step: int) -> dict[str, Tensor]:
        """`image` (B, C, Z, Y, X) float32 and `labels` (B, Z, Y, X) int64 of one step."""
        patches = [self._patch(np.random.default_rng([self.seed, step, n])) for n in range(self.batch_size)]
        images = np.stack([image for image, _ in patches])
        labels = np.stack([labels for _, labels in patches])
        return {"image": torch.from_numpy(images), "labels": torch.from_numpy(labels.astype(np.int64))}

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The injected loss of the module's outputs for `batch`."""
        outputs = self.module(batch["image"])
        levels = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        return self._loss(levels, batch["labels"]), {}

    def optimizer(self) -> torch.optim.Optimizer:
        """SGD with Nesterov momentum over everything that requires a gradient."""
        return torch.optim.SGD(
            [parameter for parameter in self.module.parameters() if parameter.requires_grad],
            lr=self.initial_learning_rate,
            momentum=self.momentum,
            nesterov=self.momentum > 0,
            weight_decay=WEIGHT_DECAY,
        )

    def learning_rate(self, step: int) -> float:
        """Initial (1 - epoch / epochs)^0.9, the same for all steps of an epoch."""
        epoch = step // self.steps_per_epoch
        return float(self.initial_learning_rate * (1 - epoch / self.epochs) ** POLY_POWER)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all that the batches depend on: a checkpoint of another one is not resumed."""
        digest = hashlib.sha256()
        settings: dict[str, Any] = {
            "patch_size": self.patch_size,
            "batch_size": self.batch_size,
            "augment": self.augment,
            "mirror_axes": self.mirror_axes,
            "seed": self.seed,
        }
        digest.update(json.dumps(settings, sort_keys=True).encode())
        for case in self.cases:
            for array in (case.image, case.labels):
                digest.update(f"{case.id} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def _patch(self, rng: Generator) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
        case = self.cases[rng.integers(len(self.cases))]
        around = case.locations if rng.random() < FOREGROUND_PATCHES else None
        start = draw_start(case.labels.shape, rng, patch_size=self.patch_size, around=around)
        where: dict[str, Any] = {"start": start, "patch_size": self.patch_size}
        matrix = spatial_matrix(rng, patch_size=self.patch_size) if self.augment else None
        if matrix is None:
            image, labels = cut(case.image, **where), cut(case.labels, **where)
        else:
            image = cut_turned(case.image, **where, matrix=matrix, order=1)
            labels = cut_turned(case.labels, **where, matrix=matrix, order=0)
        if self.augment:
            image, labels = augment(image, labels, rng, mirror_axes=self.mirror_axes)
        return image, labels

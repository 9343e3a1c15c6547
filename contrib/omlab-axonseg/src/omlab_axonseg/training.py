"""The recipe `segmentation`: axon cubes and artefact cubes, cut, mixed and weakened (Li et al., D-LMBmap, 2023).

Cases whose label map is empty are artefacts. A batch's cube is an axon cube, half of the time with a corner of an
artefact cube in it, or now and then an artefact cube; it is normalised whole, as at prediction, and then a window is
cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import omlab
from omlab.digests import digest_of
from omlab.errors import InputError, TrainingError
from omlab.roles import Case, Dataset
from omlab_axonseg.augment import cut_mix, draw_block, match_histogram, weaken_contrast
from omlab_train import Group, Optimisation, schedules
from omlab_train.cache import Arrays, PreparedCache
from omlab_train.losses import deep_supervision_loss, dice_cross_entropy
from omlab_volume.orientation import canonical_array
from omlab_volume.training.patches import cut, draw_start, foreground_locations
from omlab_volume.training.targets import label_values, volume_name
from omlab_volume.volume import LabelMap, Volume

if TYPE_CHECKING:
    from omlab_axonseg.model import AxonModel

_FORM = 1
WEIGHT_DECAY = 3e-5
ON_AXONS = 0.5
"""Share of windows that are placed on an axon."""
WEAKENED = 4
"""Places in a cube whose contrast is weakened."""

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class AxonBatches:
    """Batches for `omlab_train.Recipe`: a function of seed and number alone.

    Attributes:
        axons: Cubes with labelled voxels (`image` (Z, Y, X) of own intensities, `labels`, `voxels` of axons).
        artefacts: Cubes without any.
        window: Z, Y, X voxels.
        batch_size: Windows in a batch.
        seed: What all randomness comes from.
        mix: Chance that a corner of an artefact cube is put into an axon cube.
        match: Chance that a cube's histogram is matched to that of another cube of its sort.
        weaken: Whether contrast is weakened around some axon voxels.
        published: As upstream's scripts: the weakening never acts, for labels are 1 where 255 is looked for.
        augment: Whether windows are turned by quarters in plane and mirrored.
    """

    axons: tuple[Arrays, ...]
    artefacts: tuple[Arrays, ...]
    window: tuple[int, int, int]
    batch_size: int
    seed: int
    mix: float
    match: float
    weaken: bool
    published: bool
    augment: bool

    def __call__(self, number: int) -> dict[str, Tensor]:
        """`image` (B, 1, Z, Y, X) float32 and `labels` (B, Z, Y, X) int64 of a batch."""
        pairs = [self._pair(np.random.default_rng([self.seed, number, n])) for n in range(self.batch_size)]
        images = np.stack([image for image, _ in pairs])[:, None]
        labels = np.stack([label for _, label in pairs])
        return {"image": torch.from_numpy(images), "labels": torch.from_numpy(labels.astype(np.int64))}

    def _pair(self, rng: Generator) -> tuple[Array, Array]:
        count = len(self.axons) + len(self.artefacts) / 2
        if self.artefacts and rng.random() > len(self.axons) / count:
            cube = self._drawn(self.artefacts, rng)
            image, label = self._matched(cube["image"], self.artefacts, rng), np.asarray(cube["labels"])
            around = None
        else:
            cube = self._drawn(self.axons, rng)
            image, label = self._matched(cube["image"], self.axons, rng), np.asarray(cube["labels"])
            if self.weaken and not self.published:
                places = cube["voxels"][rng.integers(len(cube["voxels"]), size=WEAKENED)]
                image = weaken_contrast(image, places.tolist(), radius=max(min(image.shape) // 6, 1))
            if self.artefacts and rng.random() < self.mix:
                other = self._matched(self._drawn(self.artefacts, rng)["image"], self.artefacts, rng)
                most = [min(a, b) for a, b in zip(image.shape, other.shape, strict=True)]
                image, label = cut_mix(image, label, other, size=draw_block(most, rng))
            around = foreground_locations(label, rng) if rng.random() < ON_AXONS and label.any() else None
        image = (image - image.mean()) / (image.std() + 1e-8)
        start = draw_start(label.shape, rng, patch_size=self.window, around=around)
        image, label = (cut(one, start=start, patch_size=self.window) for one in (image, label))
        if self.augment:
            image, label = _turned(image, label, rng)
        return np.ascontiguousarray(image, np.float32), np.ascontiguousarray(label)

    def _drawn(self, cubes: Sequence[Arrays], rng: Generator) -> Arrays:
        return cubes[int(rng.integers(len(cubes)))]

    def _matched(self, image: Array, cubes: Sequence[Arrays], rng: Generator) -> Array:
        if rng.random() >= self.match:
            return np.asarray(image, np.float32)
        return match_histogram(image, self._drawn(cubes, rng)["image"])


class AxonRecipe:
    """Trains an axon network; fulfils `omlab_train.Recipe`. Adam with AMSGrad, Dice and cross-entropy on all levels."""

    def __init__(
        self, module: nn.Module, batches: AxonBatches, *, settings: Mapping[str, Any], fingerprint: str
    ) -> None:
        self.module, self.batches, self.fingerprint = module, batches, fingerprint
        self.epoch: int = settings["steps_per_epoch"]
        self.steps: int = settings["epochs"] * settings["steps_per_epoch"]
        self.rate: float = settings["learning_rate"]
        self.how = Optimisation(optimizer="adam", amsgrad=True, max_grad_norm=12.0, find_unused_parameters=True)

    def groups(self) -> list[Group]:
        """All parameters, at one rate."""
        return [{"params": list(self.module.parameters()), "lr": self.rate, "weight_decay": WEIGHT_DECAY}]

    def schedule(self, step: int) -> float:
        """(1 - epoch / epochs)^0.9, where upstream waits for a plateau."""
        return schedules.poly(step // self.epoch * self.epoch, steps=self.steps)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The loss of a batch."""
        outputs = self.module(batch["image"])
        levels = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        if levels[0].shape[1] == 1:  # the residual network's logit of an axon
            return _binary(levels[0], batch["labels"]), {}
        return deep_supervision_loss(
            levels, batch["labels"], level_loss=partial(dice_cross_entropy, batch_dice=True)
        ), {}

    def validate(self) -> None:
        """Nothing."""


def segmentation(model: AxonModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> AxonRecipe:
    """The recipe for the training split of `data`; `model` stays as it is.

    Raises:
        TrainingError: There is no case with axons, or a case has no label map.
        InputError: A case cannot be read.
    """
    about = data.about("train")
    cubes = axon_cubes(
        data.cases("train"), input=volume_name(about), values=label_values(about), key=data.digest("train")
    )
    axons = tuple(cube for cube in cubes if cube["voxels"].size)
    if not axons:
        raise TrainingError("No case of the data set has a labelled voxel: there is nothing to learn.")
    batches = AxonBatches(
        axons=axons,
        artefacts=tuple(cube for cube in cubes if not cube["voxels"].size),
        window=model.window,
        batch_size=settings["windows"],
        seed=seed,
        mix=settings["mix"],
        match=settings["match"],
        weaken=settings["weaken"],
        published=settings["published"],
        augment=settings["augment"],
    )
    fingerprint = digest_of([_FORM, data.digest("train"), list(model.window), dict(settings), seed])
    return AxonRecipe(model.module, batches, settings=settings, fingerprint=fingerprint)


def axon_cubes(cases: Sequence[Case], *, input: str, values: Sequence[int], key: str) -> list[Arrays]:
    """The cubes of cases, read once and kept in the cache under `key`, the digest of the data.

    Raises `TrainingError` and `InputError`.
    """
    cache = PreparedCache()
    return [
        cache.get(digest_of([_FORM, key, case.id, input, list(values)]), partial(_cube, case, input, values))
        for case in cases
    ]


def _cube(case: Case, input: str, values: Sequence[int]) -> dict[str, Array]:
    sample = case.load()
    volume, target = omlab.take(sample.inputs, input, Volume), sample.target
    if not isinstance(target, LabelMap):
        raise TrainingError(f"Case '{case.id}' has no label map: an artefact cube has an empty one.")
    if volume.channels != 1 or not target.same_grid(volume):
        raise InputError(f"Case '{case.id}': one channel is needed, and a label map on its grid.")
    image = canonical_array(volume.array[0], volume.grid).T.astype(np.float32)
    classes = canonical_array(target.array, target.grid).T
    label = np.zeros(classes.shape, np.uint8)
    for number, value in enumerate(values, start=1):
        label[classes == value] = number
    return {"image": np.ascontiguousarray(image), "labels": label, "voxels": np.argwhere(label).astype(np.int32)}


def _turned(image: Array, label: Array, rng: Generator) -> tuple[Array, Array]:
    """Quarter turns in plane, where its sides are equal, and mirrored axes."""
    quarters = int(rng.integers(4)) if image.shape[1] == image.shape[2] else 0
    axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
    image, label = (np.rot90(one, quarters, axes=(1, 2)) for one in (image, label))
    return np.flip(image, axes), np.flip(label, axes)


def _binary(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy minus soft Dice of one logit."""
    target = (labels > 0).to(logits)[:, None]
    share = logits.sigmoid()
    dice = 2 * (share * target).sum() / (share.sum() + target.sum()).clamp_min(1e-8)
    return functional.binary_cross_entropy_with_logits(logits, target) - dice

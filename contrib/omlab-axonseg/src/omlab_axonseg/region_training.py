"""The recipe `segmentation` of the region network: labelled slices, and a mean teacher on slices without labels.

Li et al., D-LMBmap, 2023; the teacher after Tarvainen and Valpola, NeurIPS 2017. Upstream's further loss between the
views has no gradient there (a slip) and is left out; RMSprop is Adam here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import omlab
from omlab.digests import digest_of
from omlab.errors import GeometryError, TrainingError
from omlab.roles import Case, Dataset
from omlab_axonseg.region_network import VIEWS, RegionConfig, RegionNet
from omlab_axonseg.region_slices import as_atlas, scaled
from omlab_train import Group, Optimisation
from omlab_train.cache import Arrays, PreparedCache
from omlab_volume.training.targets import label_values, mirrored_axes, volume_name
from omlab_volume.volume import LabelMap, Volume

if TYPE_CHECKING:
    from omlab_axonseg.regions import RegionModel

_FORM = 1
POSITIVE = 50.0
"""Weight of a region's pixels against all others."""
TEACHER = 0.5
"""Share of itself that the teacher keeps in a step, at most."""
WEIGHT_DECAY = 1e-6
ON_REGIONS = 0.5
"""Share of labelled slices that are drawn among those with a region."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceBatches:
    """Batches of slices of one view, drawn by seed and number; views take turns.

    Attributes:
        labelled: Brains at the network's sizes: `image` (D, L, F), `labels`, and by view which slices show a region.
        unlabelled: Brains with `image` alone; half of a batch's slices, where there are any.
        views: Of the network.
        num_classes: K.
        slices: In a batch.
        seed: What all randomness comes from.
    """

    labelled: tuple[Arrays, ...]
    unlabelled: tuple[Arrays, ...]
    views: tuple[str, ...]
    num_classes: int
    slices: int
    seed: int

    def __call__(self, number: int) -> dict[str, Tensor]:
        """`image` (B, 1, H, W), of the first ones `labels` (L, K, H, W), and the number of the `view`."""
        rng = np.random.default_rng([self.seed, number])
        view = self.views[number % len(self.views)]
        without = self.slices // 2 if self.unlabelled else 0
        pairs = [self._labelled(view, rng) for _ in range(self.slices - without)]
        images = [image for image, _ in pairs]
        for _ in range(without):
            brain = self.unlabelled[int(rng.integers(len(self.unlabelled)))]
            images.append(_slice(brain["image"], view, int(rng.integers(brain["image"].shape[VIEWS[view]]))))
        labels = torch.from_numpy(np.stack([label for _, label in pairs]).astype(np.int64))
        numbers = torch.arange(1, self.num_classes + 1).view(1, -1, 1, 1)
        return {
            "image": scaled(torch.from_numpy(np.stack(images).astype(np.float32))[:, None]),
            "labels": (labels[:, None] == numbers).float(),
            "view": torch.tensor(list(VIEWS).index(view)),
        }

    def _labelled(self, view: str, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        brain = self.labelled[int(rng.integers(len(self.labelled)))]
        used = brain[view]
        count = brain["image"].shape[VIEWS[view]]
        at = int(used[rng.integers(len(used))] if rng.random() < ON_REGIONS else rng.integers(count))
        return _slice(brain["image"], view, at), _slice(brain["labels"], view, at)


class MeanTeacher(nn.Module):
    """A network that learns, and a teacher that is its moving average and sees slices mirrored from left to right.

    Args:
        student: The network, which is trained in place.
        mirror: Whether the teacher sees them so; not where regions are of one side.
    """

    def __init__(self, student: RegionNet, *, mirror: bool) -> None:
        super().__init__()
        self.student, self.mirror = student, mirror
        self.teacher = copy.deepcopy(student).requires_grad_(False)
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, image: Tensor, *, labelled: int, view: str) -> tuple[Tensor, Tensor]:
        """The student's logits of all slices, and the teacher's probabilities of those after the `labelled` ones."""
        if self.training:
            self._follow()
        logits = self.student(image, view=view)
        rest = image[labelled:]
        if not len(rest):
            return logits, logits[labelled:].detach()
        across = 3 if VIEWS[view] == 2 else 2  # left-right: columns of coronal slices, rows of horizontal ones
        with torch.no_grad():
            seen = rest.flip(across) if self.mirror else rest
            share = self.teacher(seen, view=view).sigmoid()
        return logits, share.flip(across) if self.mirror else share

    def _follow(self) -> None:
        """Take in the student's weights of the step before."""
        kept = min(1 - 1 / (int(self.seen) + 1), TEACHER)
        with torch.no_grad():
            for mean, own in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                mean.lerp_(own, 1 - kept)
            self.seen += 1


class RegionRecipe:
    """Trains the region network; fulfils `omlab_train.Recipe`.

    Binary cross-entropy of labelled slices, a region's pixels weighing 50 times as much as others; of slices without
    labels the mean square of what student and teacher differ by.
    """

    how = Optimisation(optimizer="adam", find_unused_parameters=True)

    def __init__(
        self, module: MeanTeacher, batches: SliceBatches, *, settings: Mapping[str, Any], fingerprint: str
    ) -> None:
        self.module: nn.Module = module
        self.student = module.student
        self.batches, self.fingerprint = batches, fingerprint
        self.epoch: int = settings["steps_per_epoch"]
        self.steps: int = settings["epochs"] * settings["steps_per_epoch"]
        self.rate: float = settings["slices_rate"]

    def groups(self) -> list[Group]:
        """The student, at one rate."""
        return [{"params": list(self.student.parameters()), "lr": self.rate, "weight_decay": WEIGHT_DECAY}]

    def schedule(self, step: int) -> float:
        """The same rate throughout."""
        return 1.0

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The loss of a batch; its part of labelled slices, and what student and teacher differ by."""
        labels = batch["labels"]
        view = list(VIEWS)[int(batch["view"])]
        logits, share = self.module(batch["image"], labelled=len(labels), view=view)
        weight = logits.new_tensor(POSITIVE)
        supervised = functional.binary_cross_entropy_with_logits(logits[: len(labels)], labels, pos_weight=weight)
        apart = (logits[len(labels) :].sigmoid() - share).square()
        consistency = apart.mean() if apart.numel() else apart.sum()
        figures = {"labelled": float(supervised.detach()), "consistency": float(consistency.detach())}
        return supervised + consistency, figures

    def validate(self) -> None:
        """Nothing."""


def segmentation(model: RegionModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> RegionRecipe:
    """The recipe for the training split of `data`: cases with a label map, and cases without a target.

    Raises:
        TrainingError: No case has a labelled voxel.
        InputError: A case cannot be read.
    """
    about = data.about("train")
    brains = _brains(
        data.cases("train"),
        input=volume_name(about),
        values=label_values(about),
        config=model.module.config,
        key=data.digest("train"),
    )
    labelled = tuple(brain for brain in brains if brain["labels"].size)
    if not labelled:
        raise TrainingError("No case of the data set has a labelled voxel: there is nothing to learn.")
    batches = SliceBatches(
        labelled=labelled,
        unlabelled=tuple(brain for brain in brains if not brain["labels"].size),
        views=model.module.config.views,
        num_classes=len(model.labels),
        slices=settings["slices"],
        seed=seed,
    )
    teacher = MeanTeacher(model.module, mirror=2 in mirrored_axes(model.labels))
    fingerprint = digest_of([_FORM, data.digest("train"), list(model.module.config.sizes), dict(settings), seed])
    return RegionRecipe(teacher, batches, settings=settings, fingerprint=fingerprint)


def _brains(
    cases: Sequence[Case], *, input: str, values: Sequence[int], config: RegionConfig, key: str
) -> list[Arrays]:
    """The brains of cases at the network's sizes, read once and kept in the cache under `key`, the data's digest."""
    cache = PreparedCache()
    form = [_FORM, key, input, list(values), list(config.sizes), config.begin]
    return [
        cache.get(digest_of([*form, case.id]), partial(_brain, case, input=input, values=values, config=config))
        for case in cases
    ]


def _brain(case: Case, *, input: str, values: Sequence[int], config: RegionConfig) -> dict[str, NDArray[Any]]:
    sample = case.load()
    volume, target = omlab.take(sample.inputs, input, Volume), sample.target
    image = _resized(as_atlas(volume.array[0], volume.grid, begin=config.begin), config.sizes, mode="trilinear")
    empty: dict[str, NDArray[Any]] = {view: np.zeros(0, np.int64) for view in VIEWS}
    if target is None:
        return {"image": image, "labels": np.zeros(0, np.uint8), **empty}
    if not isinstance(target, LabelMap):
        raise TrainingError(f"Case '{case.id}' has a {target.kind} as its target: a region network learns label maps.")
    if not target.same_grid(volume):
        raise GeometryError(f"Case '{case.id}': the labels are not on the grid of their image.")
    array = as_atlas(target.array, target.grid, begin=config.begin)
    numbers = np.zeros(array.shape, np.float32)
    for number, value in enumerate(values, start=1):
        numbers[array == value] = number
    labels = _resized(numbers, config.sizes, mode="nearest-exact").astype(np.uint8)
    if not labels.any():
        raise TrainingError(f"Case '{case.id}' has no labelled voxel: leave its target out, or label it.")
    used = {
        view: np.flatnonzero(labels.any(axis=tuple(other for other in range(3) if other != axis)))
        for view, axis in VIEWS.items()
    }
    return {"image": image, "labels": labels, **used}


def _resized(array: NDArray[Any], sizes: Sequence[int], *, mode: str) -> NDArray[np.float32]:
    image = torch.from_numpy(np.ascontiguousarray(array, np.float32))[None, None]
    corners = False if mode == "trilinear" else None
    return functional.interpolate(image, size=tuple(sizes), mode=mode, align_corners=corners)[0, 0].numpy()


def _slice(brain: NDArray[Any], view: str, at: int) -> NDArray[Any]:
    return np.asarray(brain.take(at, axis=VIEWS[view]))

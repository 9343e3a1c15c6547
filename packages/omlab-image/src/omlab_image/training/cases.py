"""What recipes take of a data set's cases: the image, and the target as a network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab import Sample, progress
from omlab.errors import InputError, OmlabError, TrainingError
from omlab.payloads import an, describe
from omlab.roles import Case, Dataset
from omlab_image.image import Image, LabelMap2D
from omlab_payloads.classes import Classes

Before = Callable[[Image], Image]
TRAIN, VAL = "train", "val"


def cases_of(data: Dataset, split: str) -> tuple[Case, ...]:
    """The cases of a split; none where there is no such split. Raises `TrainingError` for an empty `train`."""
    cases = tuple(data.cases(split)) if split in data.splits() else ()
    if not cases and split == TRAIN:
        raise TrainingError("There is no case to train on: the data set's training split is empty.")
    return cases


def loaded(case: Case) -> Sample:
    """Read a case. Raises `InputError` that names it."""
    try:
        return case.load()
    except OmlabError as error:
        raise InputError(f"Case '{case.id}' cannot be read: {error}") from error


def image_of(sample: Sample, *, input: str, before: Before | None = None) -> Image:
    """The image of a sample: the input of that name, else the only image among them.

    `before` is what is done with every image first, such as `fundus_crop`. Raises `TrainingError`.
    """
    images = [payload for payload in sample.inputs.values() if isinstance(payload, Image)]
    image = sample.inputs.get(input, images[0] if len(images) == 1 else None)
    if not isinstance(image, Image):
        given = ", ".join(f"'{name}' ({payload.kind})" for name, payload in sample.inputs.items()) or "no input"
        raise TrainingError(
            f"Case '{sample.id}' has {given}; an image is needed, named '{input}' where there are several."
        )
    return image if before is None else before(image)


def class_target(sample: Sample, names: Sequence[str], *, is_multi_label: bool) -> Tensor:
    """The target as probabilities (K,) of the classes `names`; NaN where it is not known.

    Raises `TrainingError` that names the case: no classes, an unknown one, or several where one is right.
    """
    target = sample.target
    if not isinstance(target, Classes):
        found = "no target" if target is None else f"{an(describe(target))} as its target"
        raise TrainingError(f"Case '{sample.id}' has {found}; training a classification needs classes.")
    known = dict(zip(target.names, target.probabilities, strict=True))
    stray = next((name for name, share in known.items() if name not in names and share > 0), None)
    if stray is not None:
        raise TrainingError(f"Case '{sample.id}' has the class '{stray}', which is none of {', '.join(names)}.")
    values = torch.tensor([known.get(name, 0.0) for name in names], dtype=torch.float32)
    if is_multi_label:
        return values
    if target.threshold is not None and len(target.predicted) != 1:
        found = ", ".join(target.predicted) or "none"
        raise TrainingError(f"Case '{sample.id}' has not one class but {found}: train with multi_label=true.")
    if not torch.isfinite(values).all() or not values.sum() > 0:
        raise TrainingError(f"Case '{sample.id}' has no class that is known: leave it out.")
    if target.threshold is None:
        return values / values.sum()
    return torch.nn.functional.one_hot(values.argmax(), len(names)).float()


def labels_of(cases: Sequence[Case]) -> list[frozenset[str]]:
    """The classes of each case: what it says of itself (`label`), else what is in its target, read once."""
    said = [getattr(case, "label", None) for case in cases]
    if all(label is not None for label in said):
        return [frozenset([str(label)]) for label in said]
    return [frozenset(target.predicted if isinstance(target, Classes) else ()) for target in _targets(cases)]


def label_numbers(sample: Sample, image: Image, classes: Sequence[int]) -> NDArray[np.uint8]:
    """The label map of a sample with 0 for 0 and n for the n-th of `classes` (from 1), at most 255 of them.

    Raises `TrainingError` that names the case: no label map, another grid, a label that is no class.
    """
    target = sample.target
    if not isinstance(target, LabelMap2D):
        found = "no target" if target is None else f"{an(describe(target))} as its target"
        raise TrainingError(f"Case '{sample.id}' has {found}; training a segmentation needs a {LabelMap2D.kind}.")
    if not target.same_grid(image):
        raise TrainingError(
            f"Case '{sample.id}': the labels ({target.shape[0]} x {target.shape[1]} pixels) are not on the pixels of "
            f"their image ({image.shape[0]} x {image.shape[1]})."
        )
    numbers = {0: 0, **{value: n for n, value in enumerate(classes, start=1)}}
    values, places = np.unique(target.array, return_inverse=True)
    unknown = next((int(value) for value in values if int(value) not in numbers), None)
    if unknown is not None:
        raise TrainingError(
            f"Case '{sample.id}' has the label {unknown}, which is not one of the classes {[*classes]}."
        )
    table = np.array([numbers[int(value)] for value in values], np.uint8)
    return np.asarray(table[places].reshape(target.shape))


def said_of(value: Any) -> str:
    """A transform or another function as a fingerprint has it: what its `repr` says, a plain function by its name."""
    name = getattr(value, "__qualname__", None)
    return repr(value) if name is None else f"{value.__module__}.{name}"


def figures_of(parts: Mapping[str, Any]) -> dict[str, float]:
    """Figures beside a loss as numbers."""
    return {name: float(value.detach() if isinstance(value, Tensor) else value) for name, value in parts.items()}


def _targets(cases: Sequence[Case]) -> Iterator[Any]:
    with progress.bar("reading targets", total=len(cases)) as advance:
        for case in cases:
            yield loaded(case).target
            advance(1)

"""Cases of a data set as a segmentation network trains on them: read one by one, prepared once, kept on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import omlab_volume
from omlab import progress
from omlab.digests import digest_of
from omlab.errors import GeometryError, InputError, TrainingError
from omlab.roles import Case, Sample
from omlab_train.cache import Arrays, PreparedCache
from omlab_volume.inference.preprocess import Plan, prepare, prepare_labels
from omlab_volume.training.patches import Locations, foreground_locations
from omlab_volume.training.sources import content_of, source_of
from omlab_volume.volume import LabelMap, Volume

Prepared = TypeVar("Prepared")

_FORM = 1
"""Raised whenever the same case comes to give other arrays."""
_MOST_THREADS = 4
"""Cases that are prepared at once at most: each takes several times the memory of its image."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedCase:
    """One case that is ready for training; light where its arrays lie in a cache.

    Attributes:
        id: Of the case.
        arrays: What `training_arrays` gives, memory-mapped or in memory.
    """

    id: str
    arrays: Arrays

    @property
    def image(self) -> NDArray[np.float32]:
        """(C, Z, Y, X), normalised."""
        return self.arrays["image"]

    @property
    def labels(self) -> NDArray[np.integer]:
        """(Z, Y, X): 0 the background, 1, 2, ... the classes, then what is not annotated, where there is some."""
        return self.arrays["labels"]

    @property
    def locations(self) -> Locations:
        """Voxels (n, 3) of each class but 0; none of what is not annotated."""
        voxels, ends = self.arrays["voxels"], self.arrays["ends"].tolist()
        starts = [0, *ends[:-1]]
        values = self.arrays["classes"].tolist()
        return {value: voxels[start:end] for value, start, end in zip(values, starts, ends, strict=True)}

    @property
    def digest(self) -> str:
        """sha256 of image and labels."""
        return bytes(self.arrays["digest"]).hex()


def prepared_cases(
    cases: Sequence[Case],
    plan: Plan,
    *,
    input: str = "volume",
    classes: Sequence[int] | None = None,
    ignored: Sequence[int] = (),
    channels: int | None = None,
    cache: PreparedCache | None = None,
) -> list[PreparedCase]:
    """Prepare cases (a `Volume` with a `LabelMap` as target) for training with `plan`, once: they are kept in `cache`.

    A case with files that is a dataclass of plain values is known by these and by the files' sizes and times, and is
    not read where it was prepared before. Any other one is read, and known by what it holds.

    Args:
        cases: With targets on the grids of their images.
        plan: How the network wants its images.
        input: Name of the input that is the image; where a case has none of that name, its only volume is.
        classes: Label values of the network's outputs 1, 2, ...; left out: the values are those numbers.
        ignored: Label values of voxels that are not annotated, beside `classes`: all become len(classes) + 1, which the
            loss is to leave out.
        channels: How many channels the network takes, if that is to be checked.
        cache: Left out: the one in omlab's own cache.

    Raises:
        TrainingError: There is no case, or one has no target, no labelled voxel, or a label that is not among
            `classes`; names the case.
        InputError: An image cannot be used, or lies on another grid than its labels; names the case.
        OutputError: The cache cannot be written.
    """
    if not cases:
        raise TrainingError("There is no case to train on: the data set's training split is empty.")
    prepare = partial(
        _prepared,
        plan=plan,
        input=input,
        classes=None if classes is None else list(classes),
        ignored=list(ignored),
        channels=channels,
        cache=cache or PreparedCache(),
    )
    return at_once(prepare, cases)


def at_once(prepare: Callable[[Case], Prepared], cases: Sequence[Case]) -> list[Prepared]:
    """What `prepare` gives for each case, a few at once in threads, in order; the first error ends it."""
    with (
        progress.bar("preparing cases", total=len(cases)) as advance,
        ThreadPoolExecutor(max_workers=_threads(), thread_name_prefix="omlab-prepare") as pool,
    ):
        waiting = [pool.submit(prepare, case) for case in cases]
        prepared = []
        try:
            for future in waiting:
                prepared.append(future.result())
                advance(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return prepared


def training_arrays(
    image: NDArray[Any], labels: NDArray[np.integer], *, id: str, ignored: int | None = None
) -> dict[str, NDArray[Any]]:
    """The arrays of a prepared case: `image`, `labels`, where the classes are, and a digest.

    Args:
        image: (C, Z, Y, X), normalised.
        labels: (Z, Y, X), 0 the background.
        id: Of the case, for messages.
        ignored: The label of voxels that are not annotated.

    Raises:
        TrainingError: The shapes differ, or nothing is labelled.
    """
    if image.ndim != 4 or image.shape[1:] != labels.shape:
        raise TrainingError(
            f"Case '{id}' has an image of shape {image.shape} and labels of shape {labels.shape}; "
            "they must share their last three axes."
        )
    annotated = labels if ignored is None else np.where(labels == ignored, 0, labels)
    if not annotated.any():
        raise TrainingError(f"Case '{id}' has no labelled voxel: leave it out or label it.")
    image = np.ascontiguousarray(image, dtype=np.float32)
    labels = np.ascontiguousarray(labels)
    # The seed is fixed: which voxels stand for a class must not depend on who trains.
    locations = foreground_locations(annotated, np.random.default_rng(0))
    digest = hashlib.sha256()
    for array in (image, labels):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return {
        "image": image,
        "labels": labels,
        "classes": np.array(list(locations), dtype=np.int64),
        "ends": np.cumsum([len(voxels) for voxels in locations.values()], dtype=np.int64),
        "voxels": np.concatenate(list(locations.values())).astype(np.int32),
        "digest": np.frombuffer(digest.digest(), dtype=np.uint8),
    }


def _prepared(
    case: Case,
    *,
    plan: Plan,
    input: str,
    classes: list[int] | None,
    ignored: list[int],
    channels: int | None,
    cache: PreparedCache,
) -> PreparedCase:
    settings = {
        "form": [_FORM, omlab_volume.__version__],
        "plan": plan.to_dict(),
        "input": input,
        "classes": classes,
        "channels": channels,
    }
    if ignored:
        settings["ignored"] = ignored
    source, sample = source_of(case), None
    if source is None:
        sample = case.load()
        source = content_of(*_pair(sample, input=input))

    def make() -> Arrays:
        volume, target = _pair(case.load() if sample is None else sample, input=input)
        return _arrays(volume, target, plan, classes=classes, ignored=ignored, channels=channels, id=case.id)

    return PreparedCase(id=case.id, arrays=cache.get(digest_of([settings, source]), make))


def _arrays(
    volume: Volume,
    target: LabelMap,
    plan: Plan,
    *,
    classes: list[int] | None,
    ignored: list[int],
    channels: int | None,
    id: str,
) -> Arrays:
    if not target.same_grid(volume):
        raise GeometryError(
            f"Case '{id}': the labels ({target.grid.shape} voxels) are not on the grid of their image "
            f"({volume.grid.shape} voxels); shape or position differ."
        )
    if classes is not None:
        target = replace(target, array=_class_numbers(target.array, classes, ignored, id=id))
    try:
        prepared = prepare(volume, plan, channels=channels)
        labels = prepare_labels(target, prepared)
    except InputError as error:
        raise type(error)(f"Case '{id}': {error}") from error
    return training_arrays(
        prepared.array, labels, id=id, ignored=len(classes) + 1 if ignored and classes is not None else None
    )


def _pair(sample: Sample, *, input: str) -> tuple[Volume, LabelMap]:
    """Image and labels of a sample."""
    volumes = [payload for payload in sample.inputs.values() if isinstance(payload, Volume)]
    volume = sample.inputs.get(input, volumes[0] if len(volumes) == 1 else None)
    target = sample.target
    if not isinstance(volume, Volume) or not isinstance(target, LabelMap):
        given = ", ".join(f"'{name}' ({payload.kind})" for name, payload in sample.inputs.items()) or "no input"
        found = "no target" if target is None else f"a {target.kind} as its target"
        raise TrainingError(
            f"Case '{sample.id}' has {given} and {found}; training a segmentation needs a volume, named '{input}' "
            "where there are several, with a labelmap as its target."
        )
    return volume, target


def _class_numbers(array: NDArray[Any], classes: Sequence[int], ignored: Sequence[int], *, id: str) -> NDArray[Any]:
    """`array` with 0 for 0, n for the n-th of `classes` (from 1), and the number after these for what is ignored."""
    values, places = np.unique(array, return_inverse=True)
    numbers = {0: 0, **{value: n for n, value in enumerate(classes, start=1)}}
    numbers |= dict.fromkeys(ignored, len(classes) + 1)
    unknown = [int(value) for value in values if int(value) not in numbers]
    if unknown:
        raise TrainingError(f"Case '{id}' has the label {unknown[0]}, which is not one of the classes {list(classes)}.")
    table = np.array([numbers[int(value)] for value in values], dtype=np.min_scalar_type(len(classes) + 1))
    return table[places].reshape(array.shape)


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_THREADS, cores // 2))

"""Volumes of a data set without labels, as self-supervised training reads them: prepared once, kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import omlab_volume
from omlab.digests import digest_of
from omlab.errors import InputError, TrainingError
from omlab.roles import Case, Sample
from omlab_train.cache import Arrays, PreparedCache
from omlab_volume.inference.preprocess import Plan, prepare
from omlab_volume.training.cases import at_once
from omlab_volume.training.sources import content_of, source_of
from omlab_volume.volume import Volume

_FORM = 1
"""Raised whenever the same case comes to give other arrays."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedImage:
    """One volume that is ready for training; light where its arrays lie in a cache.

    Attributes:
        id: Of the case.
        arrays: `image`, and its `digest`; memory-mapped or in memory.
    """

    id: str
    arrays: Arrays

    @property
    def image(self) -> NDArray[np.float32]:
        """(C, Z, Y, X), normalised as the plan says."""
        return self.arrays["image"]

    @property
    def digest(self) -> str:
        """sha256 of the image."""
        return bytes(self.arrays["digest"]).hex()


def prepared_images(
    cases: Sequence[Case],
    plan: Plan,
    *,
    input: str = "volume",
    channels: int | None = None,
    clip: tuple[float, float] | None = None,
    cache: PreparedCache | None = None,
) -> list[PreparedImage]:
    """Prepare the volumes of cases with `plan`, once, as `prepared_cases` does; targets are not looked at.

    Args:
        cases: With a volume each.
        plan: How the network wants its images.
        input: Name of the input that is the image; where a case has none of that name, its only volume is.
        channels: How many channels the network takes, if that is to be checked.
        clip: Values are cut to this range first.
        cache: Left out: the one in omlab's own cache.

    Raises:
        TrainingError: There is no case, or one has no such volume; names it.
        InputError: An image cannot be used; names the case.
        OutputError: The cache cannot be written.
    """
    if not cases:
        raise TrainingError("There is no case to train on: the data set's training split is empty.")
    how: dict[str, Any] = {"input": input, "channels": channels, "clip": clip}
    return at_once(partial(_prepared, plan=plan, how=how, cache=cache or PreparedCache()), cases)


def _prepared(case: Case, *, plan: Plan, how: dict[str, Any], cache: PreparedCache) -> PreparedImage:
    settings = {"form": ["image", _FORM, omlab_volume.__version__], "plan": plan.to_dict(), **how}
    source, sample = source_of(case), None
    if source is None:
        sample = case.load()
        source = content_of(_volume(sample, how["input"]))

    def make() -> Arrays:
        volume = _volume(case.load() if sample is None else sample, how["input"])
        return _arrays(volume, plan, channels=how["channels"], clip=how["clip"], id=case.id)

    return PreparedImage(id=case.id, arrays=cache.get(digest_of([settings, source]), make))


def _arrays(volume: Volume, plan: Plan, *, channels: int | None, clip: tuple[float, float] | None, id: str) -> Arrays:
    if clip is not None:
        volume = volume.with_array(np.clip(volume.array, *clip))
    try:
        image = np.ascontiguousarray(prepare(volume, plan, channels=channels).array, dtype=np.float32)
    except InputError as error:
        raise type(error)(f"Case '{id}': {error}") from error
    digest = hashlib.sha256(f"{image.dtype} {image.shape}".encode() + image.tobytes()).digest()
    return {"image": image, "digest": np.frombuffer(digest, dtype=np.uint8)}


def _volume(sample: Sample, input: str) -> Volume:
    volumes = [payload for payload in sample.inputs.values() if isinstance(payload, Volume)]
    volume = sample.inputs.get(input, volumes[0] if len(volumes) == 1 else None)
    if not isinstance(volume, Volume):
        given = ", ".join(f"'{name}' ({payload.kind})" for name, payload in sample.inputs.items()) or "no input"
        raise TrainingError(
            f"Case '{sample.id}' has {given}; training needs a volume, named '{input}' where there are several."
        )
    return volume

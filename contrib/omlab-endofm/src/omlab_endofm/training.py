"""The recipes of whole clips: image classification's and self-distillation's, with clips in place of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from omlab import Sample
from omlab.errors import SettingsError, TrainingError
from omlab.payloads import describe
from omlab.roles import Case, Dataset
from omlab_endofm.pictures import PRESETS, as_tensor, short_side
from omlab_endofm.seen import Seen
from omlab_endofm.views import ClipViews
from omlab_image.training.cases import class_target, loaded
from omlab_image.training.classification import ClassBatches, ClassificationRecipe
from omlab_image.training.self_distillation import NumberedBatches, SelfDistillationRecipe
from omlab_video.clip import Clip

if TYPE_CHECKING:
    from omlab_endofm.model import EndofmModel

_UNDECAYED = ("backbone.cls_token", "backbone.pos_embed", "backbone.time_embed")
_LARGEST = 320 / 224
_SMALLEST = 256 / 224


@dataclass(frozen=True, kw_only=True)
class Augment:
    """(clip, seed) -> (3, T, S, S): another size, a square at another place, mirrored or not; one of all frames."""

    seen: Seen

    def __call__(self, clip: Any, seed: int) -> Tensor:
        """A part of the clip, a function of clip and seed."""
        draws = np.random.default_rng(seed % 2**64)  # seeds may be below 0
        seen = self.seen
        pixels = clip.read(seen.indices(clip, int(draws.integers(seen.clips))))
        part = short_side(as_tensor(pixels), round(seen.size * draws.uniform(_SMALLEST, _LARGEST)))
        top, left = (int(draws.integers(side - seen.size + 1)) for side in part.shape[2:])
        part = part[:, :, top : top + seen.size, left : left + seen.size]
        return PRESETS[seen.preset](part.flip(3) if draws.random() < 0.5 else part)


@dataclass(frozen=True, eq=False, kw_only=True)
class ClipBatches(ClassBatches):
    """Batches of clips: `image` is (B, 3, T, S, S)."""

    def __call__(self, number: int) -> dict[str, Tensor]:
        """`image` and `target` (B, K)."""
        clips, targets, seed = [], [], 0
        for place in range(number * self.batch_size, (number + 1) * self.batch_size):
            index, seed = self.order(place)
            sample = loaded(self.cases[index])
            clips.append(self.augment(clip_of(sample), seed))  # type: ignore[arg-type]
            targets.append(class_target(sample, self.names, is_multi_label=self.is_multi_label))
        target = torch.stack(targets)
        evenly = 0.5 if self.is_multi_label else 1 / len(self.names)
        return {"image": torch.stack(clips), "target": target * (1 - self.smoothing) + self.smoothing * evenly}


class ClipClassification(ClassificationRecipe):
    """Trains a `Classifier` to tell the classes of clips; fulfils `omlab_train.Recipe`."""

    def __init__(self, model: EndofmModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        self._seen = replace(model.seen, clips=1)
        super().__init__(
            module=model.module,
            layers=model.layers(),
            data=data,
            classes=model.task.classes,
            augment=Augment(seen=model.seen),
            prepare=self._seen,  # type: ignore[arg-type]
            settings=settings,
            seed=seed,
            input="clip",
            undecayed=_UNDECAYED,
        )
        self.batches = ClipBatches(**{field.name: getattr(self.batches, field.name) for field in fields(self.batches)})

    def _prepared(self, cases: Sequence[Case]) -> tuple[Tensor, Tensor]:
        clips, targets = [], []
        for case in cases:
            sample = loaded(case)
            clips.append(self._seen(clip_of(sample))[0])
            targets.append(class_target(sample, self.batches.names, is_multi_label=self.batches.is_multi_label))
        return torch.stack(clips), torch.stack(targets)


class ClipViewBatches(NumberedBatches):
    """Batches of the views of clips."""

    def taken(self, sample: Sample) -> Clip:
        """What views are made of."""
        return clip_of(sample)


class ClipDino(SelfDistillationRecipe):
    """DINO's recipe on ten views of a clip; trains a `ClipDistillation`. Raises `SettingsError`."""

    batches_as = ClipViewBatches

    def __init__(self, model: EndofmModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        patch = model.module.config.patch
        if settings["local_size"] % patch:
            raise SettingsError(
                f"local_size is {settings['local_size']}, but must be a multiple of the patch, {patch} pixels."
            )
        if settings["least_local_part"] > settings["least_part"]:
            raise SettingsError(
                f"least_local_part is {settings['least_local_part']}, but must be at most least_part, "
                f"{settings['least_part']}."
            )
        views = ClipViews(
            size=model.seen.size,
            local_size=settings["local_size"],
            seconds=model.seen.seconds,
            least_part=settings["least_part"],
            least_local_part=settings["least_local_part"],
        )
        super().__init__(module=model.module, data=data, views=views, settings=settings, seed=seed)


def clip_of(sample: Sample) -> Clip:
    """The clip of a sample: the input of that name, else the only clip among them. Raises `TrainingError`."""
    clips = [payload for payload in sample.inputs.values() if isinstance(payload, Clip)]
    clip = sample.inputs.get("clip", clips[0] if len(clips) == 1 else None)
    if not isinstance(clip, Clip):
        given = ", ".join(describe(payload) for payload in sample.inputs.values()) or "no input"
        raise TrainingError(f"Case '{sample.id}' has {given}; a clip is needed, named 'clip' where there are several.")
    return clip

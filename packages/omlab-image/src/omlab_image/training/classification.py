"""The recipe of classification: RETFound's fine-tuning as a pattern, for one class an image or several."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab.digests import digest_of
from omlab.errors import SettingsError, TrainingError
from omlab.roles import Case, Dataset
from omlab_image.image import Image
from omlab_image.training.cases import TRAIN, VAL, Before, cases_of, class_target, image_of, labels_of, loaded, said_of
from omlab_image.training.course import Course, CourseRecipe
from omlab_image.training.measure import auc, outputs_of
from omlab_image.training.mixing import Mixing
from omlab_train.order import Order, balanced

Augment = Callable[[Image, int], Tensor]
Prepare = Callable[[Image], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassBatches:
    """Batches for `omlab_train.Recipe`: a function of seed and number alone.

    Attributes:
        cases: With `Classes` as their targets; read when their turn comes.
        names: Of the classes, as the network's outputs have them.
        order: Which case comes when.
        batch_size: Images in a batch.
        augment: (image, seed) -> [3, H, W].
        mixing: Of the images of a batch.
        smoothing: Share of the target that is spread over all classes.
        is_multi_label: Whether an image may have several classes, or none.
        input: Name of the image among the inputs.
        before: What is done with every image first.
    """

    cases: tuple[Case, ...]
    names: tuple[str, ...]
    order: Order
    batch_size: int
    augment: Augment
    mixing: Mixing
    smoothing: float
    is_multi_label: bool
    input: str
    before: Before | None

    draws_globally = True  # torchvision and timm do, within the seed of each image

    def __call__(self, number: int) -> dict[str, Tensor]:
        """`image` (B, 3, H, W) and `target` (B, K), probabilities, NaN where they are not known."""
        images, targets, seed = [], [], 0
        for place in range(number * self.batch_size, (number + 1) * self.batch_size):
            index, seed = self.order(place)
            sample = loaded(self.cases[index])
            images.append(self.augment(image_of(sample, input=self.input, before=self.before), seed))
            targets.append(class_target(sample, self.names, is_multi_label=self.is_multi_label))
        target = torch.stack(targets)
        # spread over all classes, or over "right" and "not right" of each
        evenly = 0.5 if self.is_multi_label else 1 / len(self.names)
        target = target * (1 - self.smoothing) + self.smoothing * evenly
        image, target = self.mixing(torch.stack(images), target, seed=seed)
        return {"image": image, "target": target}


class ClassificationRecipe(CourseRecipe):
    """Trains `module` to tell the classes of images; fulfils `omlab_train.Recipe`.

    Settings, beside those of `Course`: `mixup` and `cutmix` (the alpha of each, 0: none), `label_smoothing`,
    `balanced` (every class is drawn equally often), `multi_label`.

    The loss is the cross-entropy with the (mixed, smoothed) target, or with `multi_label` the binary one of each class,
    where what is not known (NaN) does not count. After each epoch the split `val`, where there is one, gives the loss,
    the accuracy (of one class an image) and the mean area under the ROC curve of the classes for which it is defined.

    Args:
        module: Takes (B, 3, H, W) float32, gives logits (B, K).
        layers: Names of its parameters from input to head (`Trainable.layers`), for the layer-wise decay.
        data: Its cases have an `Image` among their inputs and `Classes` as their target.
        classes: Names of the classes of the outputs.
        augment: (image, seed) -> [3, H, W], such as `omlab_image.transforms.training`; its `repr` says what it does.
        prepare: image -> [3, H, W] without chance, for `val`.
        settings: Of the recipe; what is not among them has its default.
        seed: What all randomness comes from.
        input: Name of the image among the inputs; where a case has none of that name, its only image is.
        before: What is done with every image first, such as `omlab_image.transforms.fundus_crop`.
        undecayed: Names of further parameters without weight decay: position embeddings, tokens.

    Raises:
        TrainingError: There is nothing to train on, or too few classes.
        SettingsError: A value cannot be.
    """

    def __init__(
        self,
        *,
        module: nn.Module,
        layers: Sequence[Sequence[str]],
        data: Dataset,
        classes: Sequence[str],
        augment: Augment,
        prepare: Prepare,
        settings: Mapping[str, Any],
        seed: int,
        input: str = "image",
        before: Before | None = None,
        undecayed: Collection[str] = (),
    ) -> None:
        is_multi_label = bool(settings.get("multi_label", False))
        if len(classes) < (1 if is_multi_label else 2):
            raise TrainingError(f"There are {len(classes)} classes to tell apart; at least 2 are needed.")
        cases = cases_of(data, TRAIN)
        super().__init__(
            module=module, layers=layers, course=Course.of(settings), cases=len(cases), undecayed=undecayed
        )
        weights = balanced(labels_of(cases)) if settings.get("balanced", False) else None
        self.batches = ClassBatches(
            cases=cases,
            names=tuple(classes),
            order=Order(count=len(cases), seed=seed, weights=weights),
            batch_size=self.course.batch_size,
            augment=augment,
            mixing=Mixing(mixup=float(settings.get("mixup", 0.0)), cutmix=float(settings.get("cutmix", 0.0))),
            smoothing=_share("label_smoothing", settings.get("label_smoothing", 0.0)),
            is_multi_label=is_multi_label,
            input=input,
            before=before,
        )
        self._val, self._prepare = cases_of(data, VAL), prepare
        self._data = data.digest(TRAIN)

    @property
    def fingerprint(self) -> str:
        """Digest of all that the batches depend on: a checkpoint of another one is not resumed."""
        batches = self.batches
        drawn = [batches.order.seed, batches.order.weights is not None, asdict(batches.mixing), batches.smoothing]
        what = [batches.names, batches.is_multi_label, batches.input, said_of(batches.augment), said_of(batches.before)]
        return digest_of([self._data, asdict(self.course), drawn, what])

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The cross-entropy of a batch."""
        return class_loss(self.module(batch["image"]), batch["target"], is_multi_label=self.batches.is_multi_label), {}

    def validate(self) -> Mapping[str, float] | None:
        """Loss, accuracy and AUC of the split `val`; None where there is none."""
        if not self._val:
            return None
        logits, targets = (torch.cat(parts) for parts in zip(*outputs_of(self.module, self._validation()), strict=True))
        is_multi_label = self.batches.is_multi_label
        figures = {"loss": float(class_loss(logits, targets, is_multi_label=is_multi_label))}
        if not is_multi_label:
            figures["accuracy"] = float((logits.argmax(1) == targets.argmax(1)).float().mean())
        area = auc(logits.sigmoid() if is_multi_label else logits.softmax(1), targets)
        return figures if area is None else {**figures, "auc": area}

    def _validation(self) -> Sequence[Callable[[], tuple[Tensor, Tensor]]]:
        size = self.course.batch_size
        parts = [self._val[first : first + size] for first in range(0, len(self._val), size)]
        return [lambda part=part: self._prepared(part) for part in parts]  # type: ignore[misc]

    def _prepared(self, cases: Sequence[Case]) -> tuple[Tensor, Tensor]:
        batches = self.batches
        images, targets = [], []
        for case in cases:
            sample = loaded(case)
            images.append(self._prepare(image_of(sample, input=batches.input, before=batches.before)))
            targets.append(class_target(sample, batches.names, is_multi_label=batches.is_multi_label))
        return torch.stack(images), torch.stack(targets)


def class_loss(logits: Tensor, target: Tensor, *, is_multi_label: bool) -> Tensor:
    """The mean cross-entropy of logits (B, K) with probabilities (B, K).

    With `is_multi_label` the binary one of each class; entries of NaN do not count.
    """
    if not is_multi_label:
        return functional.cross_entropy(logits.float(), target)
    known = torch.isfinite(target)
    each = functional.binary_cross_entropy_with_logits(
        logits.float(), torch.where(known, target, 0.0), reduction="none"
    )
    return (each * known).sum() / known.sum().clamp_min(1)


def _share(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise SettingsError(f"{name} is {value}, but must be at least 0 and below 1.")
    return float(value)

"""The recipe of segmentation in two dimensions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from omlab.digests import digest_of
from omlab.errors import TrainingError
from omlab.roles import Case, Dataset
from omlab_image.training.cases import TRAIN, VAL, cases_of, image_of, label_numbers, loaded, said_of
from omlab_image.training.course import Course, CourseRecipe
from omlab_image.training.measure import outputs_of
from omlab_image.training.paired import Paired
from omlab_train.losses import dice_cross_entropy, shrink_labels
from omlab_train.order import Order

Loss = Callable[[Any, Tensor], Tensor]
Logits = Callable[[Any], Tensor]
MOST_CLASSES = 255


def fitted_dice_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Dice and cross-entropy of logits (B, K, h, w) with labels (B, H, W), which are taken to the logits' size."""
    return dice_cross_entropy(logits, shrink_labels(labels, shape=logits.shape[2:]), batch_dice=True)


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelBatches:
    """Batches for `omlab_train.Recipe`: a function of seed and number alone.

    Attributes:
        cases: With a `LabelMap2D` as their target; read when their turn comes.
        classes: Label values of the outputs 1, 2, ...
        order: Which case comes when.
        batch_size: Images in a batch.
        pair: How image and labels are changed.
        input: Name of the image among the inputs.
    """

    cases: tuple[Case, ...]
    classes: tuple[int, ...]
    order: Order
    batch_size: int
    pair: Paired
    input: str

    draws_globally = True  # torchvision does, within the seed of each image

    def __call__(self, number: int) -> dict[str, Tensor]:
        """`image` (B, 3, H, W) and `labels` (B, H, W) int64."""
        first = number * self.batch_size
        return self.of([self.order(place) for place in range(first, first + self.batch_size)])

    def of(self, drawn: Sequence[tuple[int, int | None]]) -> dict[str, Tensor]:
        """The batch of cases by (index, seed)."""
        images, labels = [], []
        for index, seed in drawn:
            sample = loaded(self.cases[index])
            image = image_of(sample, input=self.input)
            tensor, numbers = self.pair(image, label_numbers(sample, image, self.classes), seed)
            images.append(tensor)
            labels.append(numbers)
        return {"image": torch.stack(images), "labels": torch.stack(labels)}


class SegmentationRecipe(CourseRecipe):
    """Trains `module` to tell the class of each pixel; fulfils `omlab_train.Recipe`.

    The settings are those of `Course`. After each epoch the split `val`, where there is one, gives the Dice of its
    classes over all its pixels, and their mean (`dice`).

    Args:
        module: Takes (B, 3, size, size) float32; what it gives is for `loss` and `logits` to know, at first
            (B, K, h, w) of whatever size, output 0 the background.
        layers: Names of its parameters from input to head (`Trainable.layers`), for the layer-wise decay.
        data: Its cases have an `Image` among their inputs and a `LabelMap2D` on its pixels as their target.
        classes: Label values of the outputs 1, 2, ...
        pair: How image and labels are changed at random; without a seed it prepares those of `val`.
        settings: Of the recipe; what is not among them has its default.
        seed: What all randomness comes from.
        loss: Of what the module gives and labels (B, size, size) int64; at first Dice and cross-entropy.
        logits: From what the module gives in evaluation mode to logits (B, K, h, w).
        input: Name of the image among the inputs; where a case has none of that name, its only image is.
        undecayed: Names of further parameters without weight decay.

    Raises:
        TrainingError: There is nothing to train on, no class or too many.
        SettingsError: A value cannot be.
    """

    def __init__(
        self,
        *,
        module: nn.Module,
        layers: Sequence[Sequence[str]],
        data: Dataset,
        classes: Sequence[int],
        pair: Paired,
        settings: Mapping[str, Any],
        seed: int,
        loss: Loss = fitted_dice_cross_entropy,
        logits: Logits | None = None,
        input: str = "image",
        undecayed: Collection[str] = (),
    ) -> None:
        if not 1 <= len(classes) <= MOST_CLASSES or len(set(classes)) != len(classes) or 0 in classes:
            raise TrainingError(f"Classes are 1 to {MOST_CLASSES} different label values above 0, not {[*classes]}.")
        course = Course.of(settings, learning_rate=1.6e-3, layer_decay=1.0)
        cases = cases_of(data, TRAIN)
        super().__init__(module=module, layers=layers, course=course, cases=len(cases), undecayed=undecayed)
        self.batches = LabelBatches(
            cases=cases,
            classes=tuple(classes),
            order=Order(count=len(cases), seed=seed),
            batch_size=self.course.batch_size,
            pair=pair,
            input=input,
        )
        self._loss, self._logits = loss, logits
        self._val = cases_of(data, VAL)
        self._data = data.digest(TRAIN)

    @property
    def fingerprint(self) -> str:
        """Digest of all that the batches depend on: a checkpoint of another one is not resumed."""
        batches = self.batches
        what = [batches.classes, batches.order.seed, batches.input, said_of(batches.pair), said_of(self._loss)]
        return digest_of([self._data, asdict(self.course), what])

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The injected loss of what the module gives for a batch."""
        return self._loss(self.module(batch["image"]), batch["labels"]), {}

    def validate(self) -> Mapping[str, float] | None:
        """The mean Dice of the classes over all pixels of `val` at the size of the input; None where there is none."""
        if not self._val:
            return None
        count = len(self.batches.classes) + 1
        shared, both = torch.zeros(count), torch.zeros(count)
        for given, labels in outputs_of(self.module, self._validation(), logits=self._logits):
            size = list(labels.shape[1:])
            logits = nn.functional.interpolate(given, size=size, mode="bilinear", align_corners=False)
            found = logits.argmax(1)
            for value in range(1, count):
                ours, theirs = found == value, labels == value
                shared[value] += float((ours & theirs).sum())
                both[value] += float(ours.sum() + theirs.sum())
        there = both > 0
        return {"dice": float((2 * shared[there] / both[there]).mean())} if there.any() else {"dice": 1.0}

    def _validation(self) -> Sequence[Callable[[], tuple[Tensor, Tensor]]]:
        batches = LabelBatches(**{**vars(self.batches), "cases": self._val})
        size = self.course.batch_size

        def made(first: int) -> tuple[Tensor, Tensor]:
            batch = batches.of([(index, None) for index in range(first, min(first + size, len(self._val)))])
            return batch["image"], batch["labels"]

        return [lambda first=first: made(first) for first in range(0, len(self._val), size)]  # type: ignore[misc]

"""The recipe of pre-training without targets: masked autoencoders, deblurring, spatial-frequency masking."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from omlab import Sample
from omlab.digests import digest_of
from omlab.roles import Case, Dataset
from omlab_image.training.cases import TRAIN, VAL, Before, cases_of, figures_of, image_of, loaded, said_of
from omlab_image.training.course import Course, CourseRecipe
from omlab_train.order import Order
from omlab_train.settings import mixed_seed

Views = Callable[[Any, int], "Tensor | Mapping[str, Tensor]"]
MAE_BETAS = (0.9, 0.95)


@dataclass(frozen=True, eq=False, kw_only=True)
class ViewBatches:
    """Batches for `omlab_train.Recipe`: a function of seed and number alone.

    Attributes:
        cases: With an image among their inputs; read when their turn comes.
        order: Which case comes when.
        batch_size: Images in a batch.
        views: (image, seed) -> what the module takes of an image: a tensor, or several by name.
        input: Name of the image among the inputs.
        before: What is done with every image first.
    """

    cases: tuple[Case, ...]
    order: Order
    batch_size: int
    views: Views
    input: str
    before: Before | None

    draws_globally = True  # torchvision does, within the seed of each image

    def __call__(self, number: int) -> dict[str, Any]:
        """`images`, the views stacked, and `seed`, for what the module draws."""
        first = number * self.batch_size
        return self.of([self.order(place) for place in range(first, first + self.batch_size)], number)

    def taken(self, sample: Sample) -> Any:
        """What views are made of: the image of a case."""
        return image_of(sample, input=self.input, before=self.before)

    def of(self, drawn: Sequence[tuple[int, int]], number: int) -> dict[str, Any]:
        """The batch of cases by (index, seed)."""
        views = []
        for index, seed in drawn:
            views.append(self.views(self.taken(loaded(self.cases[index])), seed))
        return {"images": _stacked(views), "seed": torch.tensor(mixed_seed(self.order.seed, number, -1))}


class SelfSupervisedRecipe(CourseRecipe):
    """Trains a module that states its own loss of images; fulfils `omlab_train.Recipe`.

    AdamW with betas (0.9, 0.95), no layer-wise decay, no weight decay on biases and norms; the settings are those of
    `Course`. After each epoch the split `val`, where there is one, gives the loss of always the same draws.

    Args:
        module: `module(images, generator)` gives (loss, parts): a scalar, and figures by name to show beside it.
            `images` is (B, 3, H, W), or tensors by name where `views` gives several; the generator, on their device, is
            what masks and noise are drawn from.
        data: Its cases have an `Image` among their inputs; targets are not looked at.
        views: (image, seed) -> what the module takes of an image, such as `omlab_image.transforms.pretraining`; its
            `repr` says all that it does.
        settings: Of the recipe; what is not among them has its default.
        seed: What all randomness comes from.
        input: Name of the image among the inputs; where a case has none of that name, its only image is.
        before: What is done with every image first, such as `omlab_image.transforms.fundus_crop`.
        undecayed: Names of further parameters without weight decay.

    Raises:
        TrainingError: There is nothing to train on.
        SettingsError: A value cannot be.
    """

    batches_as: ClassVar[type[ViewBatches]] = ViewBatches
    """What makes the batches."""

    def __init__(
        self,
        *,
        module: nn.Module,
        data: Dataset,
        views: Views,
        settings: Mapping[str, Any],
        seed: int,
        input: str = "image",
        before: Before | None = None,
        undecayed: Collection[str] = (),
    ) -> None:
        course = Course.of(
            settings, betas=MAE_BETAS, epochs=800, warmup_epochs=40, learning_rate=1.5e-4, min_learning_rate=0.0
        )
        cases, val = cases_of(data, TRAIN), cases_of(data, VAL)
        alike = [[name for name, _ in module.named_parameters()]]  # all parameters at one rate
        super().__init__(module=module, layers=alike, course=course, cases=len(cases), undecayed=undecayed)
        how: dict[str, Any] = {"batch_size": self.course.batch_size, "views": views, "input": input, "before": before}
        self.batches, validation = (
            self.batches_as(cases=some, order=Order(count=len(some), seed=seed), **how) for some in (cases, val)
        )
        self._validation = validation if val else None
        self._data = data.digest(TRAIN)

    @property
    def fingerprint(self) -> str:
        """Digest of all that the batches depend on: a checkpoint of another one is not resumed."""
        batches = self.batches
        what = [batches.order.seed, batches.input, said_of(batches.views), said_of(batches.before)]
        return digest_of([self._data, asdict(self.course), what])

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, float]]:
        """What the module says of a batch."""
        device = batch["seed"].device
        generator = torch.Generator(device=device).manual_seed(int(batch["seed"]))
        loss, parts = self.module(batch["images"], generator)
        return loss, figures_of(parts)

    def validate(self) -> Mapping[str, float] | None:
        """The mean loss of the split `val`; None where there is none."""
        device = next(self.module.parameters()).device
        return None if self._validation is None else mean_figures(self.loss, self._validation, device=device)


class DrawnBatches(Protocol):
    """Batches whose cases can be drawn by hand."""

    @property
    def cases(self) -> Sequence[Case]:
        """All that can be drawn."""

    @property
    def batch_size(self) -> int:
        """Cases in a batch."""

    def of(self, drawn: list[tuple[int, int]], number: int) -> Mapping[str, Any]:
        """The batch of cases by (index, seed)."""


def mean_figures(
    loss: Callable[[Any], tuple[Tensor, Mapping[str, float]]], batches: DrawnBatches, *, device: torch.device
) -> dict[str, float]:
    """The mean of a loss and its figures over all cases, each drawn by the same seed whenever this is asked."""
    sums: dict[str, float] = {}
    count, size = len(batches.cases), batches.batch_size
    for number, first in enumerate(range(0, count, size)):
        indices = range(first, min(first + size, count))
        batch = batches.of([(index, mixed_seed(index)) for index in indices], number)
        found, parts = loss(_on(batch, device))
        for name, value in {"loss": float(found), **parts}.items():
            sums[name] = sums.get(name, 0.0) + value * len(indices)
    return {name: value / count for name, value in sums.items()}


def _stacked(views: Sequence[Any]) -> Any:
    if isinstance(views[0], Tensor):
        return torch.stack(list(views))
    return {name: torch.stack([view[name] for view in views]) for name in views[0]}


def _on(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    return {name: _on(part, device) for name, part in batch.items()}

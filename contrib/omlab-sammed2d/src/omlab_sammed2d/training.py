"""Training with simulated prompts (Cheng et al. 2023): its phases, the loss of each, the batches.

A batch of images is trained on in 1 + `rounds` steps, each with an optimiser step of its own. In phase 0 the images are
encoded and each mask is asked for by a box or a point; adapters, prompt encoder and decoder learn. In the others the
embeddings are those of phase 0, without gradients, each mask is asked for by points where it was wrong and by itself as
a mask prompt, and the decoder alone learns; one phase in the middle and the last one give the mask prompt alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omlab import progress
from omlab.digests import digest_of
from omlab.errors import GeometryError, OmlabError, TrainingError
from omlab.roles import About, Case, Dataset, Sample
from omlab_image.image import Image, LabelMap2D
from omlab_sam.network import Sam, best_mask
from omlab_sammed2d.clicks import first_points, most_shift, region_boxes, shifted
from omlab_sammed2d.frames import ChannelOrder, Fit, Frame
from omlab_sammed2d.losses import total_loss
from omlab_sammed2d.predictor import pixels_of
from omlab_sammed2d.slices import Axis, Slices
from omlab_train import Group, Optimisation
from omlab_train.cache import Entry, PreparedCache
from omlab_volume.volume import LabelMap, Volume

POINTS = (1, 3, 5, 9)
"""How many new points a phase gives."""
HALVED_AFTER = (5, 10)
"""Epochs after which the rate is halved, where asked for."""
BY_BOX = 0.5
HOW = Optimisation(find_unused_parameters=True)
"""AdamW without decay, which is Adam; most phases leave most of the network alone."""
_SURE = -30.0
_CLICKED = ("prompt_encoder.point_embeddings.0.", "prompt_encoder.point_embeddings.1.", "prompt_encoder.not_a_point")


class Phases(nn.Module):
    """A network in its phases. It remembers what phase 0 made until the next one."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam
        self._embeddings = self._low = self._truth = self._left_out = torch.empty(0)

    def forward(self, *, phase: int, **batch: Any) -> tuple[Tensor, Tensor]:
        """The loss of a phase, and the mean Dice of its masks without gradients.

        Args:
            phase: From 0.
            batch: Of phase 0 `images` (B, 3, S, S), `truth` (B * M, 1, S, S) of 0 and 1, `left_out` of that shape
                (nobody annotated it; empty: none), and `boxes` (B * M, 4) or `points` (B * M, 1, 2) with `labels`. Of
                others `draws` (B * M, n), numbers of [0, 1) that choose points; n is 0 where there are none.
        """
        if phase == 0:
            return self._first(**batch)
        if not len(self._embeddings):
            raise TrainingError("A phase cannot begin without the one before it: train whole epochs.")
        return self._refined(batch["draws"])

    def _first(self, images: Tensor, truth: Tensor, left_out: Tensor, **prompts: Tensor) -> tuple[Tensor, Tensor]:
        embeddings = self.sam.image_encoder(images)
        each = embeddings.repeat_interleave(len(truth) // len(images), dim=0)
        self._truth, self._left_out = truth, left_out
        self._embeddings = each.detach()
        return self._loss(*best_mask(*self.sam.decode(each, **prompts, multimask=True)))

    def _refined(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        wrong_at: dict[str, Tensor] = {}
        if draws.shape[1]:
            masks = self._full(self._low)[:, 0] > 0
            found = [
                drawn_errors(mask, truth[0] > 0, row)
                for mask, truth, row in zip(masks, self._truth, draws, strict=True)
            ]
            wrong_at["points"] = torch.stack([points for points, _ in found])
            wrong_at["labels"] = torch.stack([labels for _, labels in found])
        encoder = self.sam.prompt_encoder
        with torch.no_grad():
            sparse, dense = encoder(**wrong_at, masks=self._low.sigmoid())
            grid = encoder.dense_pe()
        logits, ious = self.sam.mask_decoder(
            self._embeddings, dense_pe=grid, sparse=sparse, dense=dense, multimask=True
        )
        return self._loss(*best_mask(logits, ious))

    def _loss(self, low: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
        self._low = low.detach()
        full = self._full(low)
        with torch.no_grad():
            mask, truth = (full > 0).flatten(1), (self._truth > 0).flatten(1)
            dice = (2 * (mask & truth).sum(1) / (mask.sum(1) + truth.sum(1)).clamp(min=1)).mean()
        return total_loss(full, self._truth, iou), dice

    def _full(self, low: Tensor) -> Tensor:
        """Masks of the images' size; what nobody annotated is surely background, as its truth is."""
        full = self.sam.upsample(low.float())
        return full.masked_fill(self._left_out, _SURE) if self._left_out.numel() else full


def drawn_errors(mask: Tensor, truth: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Points (n, 2) x, y where a mask (S, S) is wrong, and labels (n,): as `omlab_sammed2d.clicks.error_points`.

    `draws` (n,) in [0, 1) choose among the wrong pixels in C order, or among all where none is wrong.
    """
    wrong = (mask != truth).flatten().nonzero()[:, 0]
    is_exact = not len(wrong)
    places = torch.arange(mask.numel(), device=mask.device) if is_exact else wrong
    chosen = places[(draws * len(places)).long().clamp(max=len(places) - 1)]
    labels = torch.full_like(chosen, -1) if is_exact else truth.flatten()[chosen].long()
    return torch.stack((chosen % mask.shape[1], chosen // mask.shape[1]), dim=1), labels


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """A picture to train on: its case and slice, and the labels that are in it."""

    case: int
    slice: int
    values: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PhaseBatches:
    """The batches of all phases: functions of seed and step alone.

    `entries` are prepared cases on disk: `pixels` (N, H, W) or (N, H, W, 3) and `labels` (N, H, W).
    """

    entries: Sequence[Entry]
    pictures: Sequence[_Picture]
    side: int
    fit: Fit
    order: ChannelOrder
    images: int
    masks: int
    rounds: int
    seed: int
    ignored: Sequence[int] = ()

    def __call__(self, step: int) -> dict[str, Any]:
        """What `Phases.forward` takes in one step."""
        number, phase = divmod(step, 1 + self.rounds)
        if phase:
            return {"phase": phase, "draws": self._draws(number, phase)}
        rng = np.random.default_rng([self.seed, number])
        by_box = bool(rng.random() < BY_BOX)
        images, truths, left_out, prompts = [], [], [], []
        for _ in range(self.images):
            picture = self.pictures[int(rng.integers(len(self.pictures)))]
            entry = self.entries[picture.case]
            pixels, labels = np.array(entry["pixels"][picture.slice]), np.array(entry["labels"][picture.slice])
            frame = Frame(shape=labels.shape, side=self.side, fit=self.fit)
            images.append(frame.image(pixels, order=self.order))
            square = frame.square(labels)
            for value in rng.choice(picture.values, self.masks):
                truths.append(square == value)
                left_out.append(np.isin(square, self.ignored))
                prompts.append(_drawn_box(truths[-1], rng) if by_box else _drawn_point(truths[-1], rng))
        batch: dict[str, Any] = {
            "phase": 0,
            "images": torch.stack(images),
            "truth": torch.from_numpy(np.stack(truths))[:, None].float(),
            "left_out": torch.from_numpy(np.stack(left_out))[:, None]
            if self.ignored
            else torch.zeros(0, dtype=torch.bool),
        }
        if by_box:
            return batch | {"boxes": torch.tensor([box for box, _ in prompts], dtype=torch.float32)}
        points = torch.tensor(np.stack([point for point, _ in prompts]))
        return batch | {"points": points, "labels": torch.tensor(np.stack([label for _, label in prompts]))}

    def _draws(self, number: int, phase: int) -> Tensor:
        rng = np.random.default_rng([self.seed, number, 0])
        bare = int(rng.integers(1, self.rounds - 1)) + 1 if self.rounds > 2 else 0
        if phase in (bare, self.rounds):
            return torch.zeros(self.images * self.masks, 0)
        rng = np.random.default_rng([self.seed, number, phase])
        count = int(rng.choice(POINTS))
        return torch.from_numpy(rng.random((self.images * self.masks, count)))


def _drawn_box(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[Any, Any]:
    box = region_boxes(mask)[0]
    most = most_shift(box)
    return shifted(box, x=int(rng.integers(-most, most)), y=int(rng.integers(-most, most))) if most else box, None


def _drawn_point(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[Any, Any]:
    return first_points(mask, count=1, draw=lambda count: int(rng.integers(count)), shuffle=range)


@dataclass(kw_only=True)
class ClickRecipe:
    """Trains a network in phases (`omlab_train.Recipe`).

    Args:
        sam: What is trained, in place. `module` is it in its phases.
        batches: Of all phases.
        epoch: Steps between two checkpoints, whole batches of images.
        epochs: How many times.
        learning_rate: Of all that learns.
        halved: Whether the rate is halved after each of `HALVED_AFTER`.
        encoder: Whether, beside adapters, the rest of the image encoder learns ("all").
        freeze_point_embeddings: Whether the embeddings of clicks stay as they are, as they did for the authors, whose
            optimiser did not know them.
        fingerprint: Digest of what the batches depend on.
    """

    sam: Sam
    batches: PhaseBatches
    epoch: int
    epochs: int
    learning_rate: float
    halved: bool
    encoder: str
    freeze_point_embeddings: bool
    fingerprint: str
    how: Optimisation = HOW
    module: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.module = Phases(self.sam)

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.epoch * self.epochs

    def groups(self) -> list[Group]:
        """All that learns: adapters and what an omlab adapter put into the network, prompt encoder, decoder."""

        def learns(name: str) -> bool:
            if self.freeze_point_embeddings and name.startswith(_CLICKED):
                return False
            is_base = name in self.sam.own and name.startswith("image_encoder.") and ".Adapter." not in name
            return self.encoder == "all" or not is_base

        params = [parameter for name, parameter in self.sam.named_parameters() if learns(name)]
        return [{"params": params, "lr": self.learning_rate, "weight_decay": 0.0}]

    def schedule(self, step: int) -> float:
        """Half after each of `HALVED_AFTER`, where asked for."""
        return float(0.5 ** sum(self.halved and step // self.epoch >= epoch for epoch in HALVED_AFTER))

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, float]]:
        """The loss of a phase, and beside it the Dice of its masks."""
        loss, dice = self.module(**batch)
        return loss, {"dice": float(dice)}

    def validate(self) -> None:
        """Nothing is held back."""


def click_recipe(
    sam: Sam,
    data: Dataset,
    *,
    fit: Fit,
    order: ChannelOrder,
    axis: Axis,
    window: Sequence[float],
    seed: int,
    settings: Mapping[str, Any],
) -> ClickRecipe:
    """The recipe for the training split of a data set: images, or volumes' slices that show a label.

    Args:
        sam: What is trained, in place.
        data: Images with label maps, or volumes with theirs; each label is an object, and values that count as not
            annotated are left out. Cases are read once and kept in the cache of prepared cases.
        fit: How an image gets into the network's square.
        order: Of the channels.
        axis: Across which volumes are cut.
        window: Of their intensities.
        seed: What all randomness comes from.
        settings: Of the recipe, as its card has them.

    Raises:
        TrainingError: There is no case, or nothing in them is labelled.
        GeometryError, InputError: A case cannot be used; names it.
    """
    about = data.about("train")
    name = picture_name(about)
    cases, digest = data.cases("train"), data.digest("train")
    cache, entries, pictures = PreparedCache(), [], []
    with progress.bar("preparing cases", total=len(cases)) as advance:
        for number, case in enumerate(cases):
            key = digest_of(["sammed2d", 1, digest, case.id, axis, list(window)])
            entries.append(cache.get(key, partial(_prepared, case, name=name, axis=axis, window=window)))
            pictures += _pictures(number, entries[-1]["labels"], side=sam.image_size, fit=fit, ignored=about.ignored)
            advance(1)
    if not pictures:
        raise TrainingError("Nothing is labelled in the training split: there is nothing to train on.")
    facts: dict[str, Any] = {
        "side": sam.image_size,
        "fit": fit,
        "order": order,
        "images": settings["images"],
        "masks": settings["masks"],
        "rounds": settings["rounds"],
        "seed": seed,
        "ignored": tuple(about.ignored),
    }
    return ClickRecipe(
        sam=sam,
        batches=PhaseBatches(entries=entries, pictures=pictures, **facts),
        epoch=settings["steps_per_epoch"] * (1 + settings["rounds"]),
        epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        halved=settings["halve"],
        encoder=settings["encoder"],
        freeze_point_embeddings=settings["freeze_point_embeddings"],
        fingerprint=digest_of({"data": digest, "axis": axis, "window": list(window), **facts}),
    )


def picture_name(about: About) -> str:
    """The input that is an image or a volume. Raises `TrainingError` where there is none, or several."""
    found = [name for name, kind in about.inputs.items() if kind in (Image.kind, Volume.kind)]
    if len(found) != 1:
        has = ", ".join(f"{name} ({kind})" for name, kind in about.inputs.items()) or "no inputs"
        raise TrainingError(f"SAM-Med2D trains on data with one image or volume a case, but these have {has}.")
    return found[0]


def _prepared(case: Case, *, name: str, axis: Axis, window: Sequence[float]) -> Mapping[str, NDArray[Any]]:
    sample = case.load()
    picture, target = sample.inputs[name], sample.target
    try:
        if isinstance(picture, Image) and isinstance(target, LabelMap2D):
            _check_grid(sample, is_same=target.same_grid(picture))
            return {"pixels": pixels_of(picture)[None], "labels": target.array[None]}
        if isinstance(picture, Volume) and isinstance(target, LabelMap):
            _check_grid(sample, is_same=target.same_grid(picture))
            slices = Slices(picture, axis=axis, window=window)
            labels = slices.shown(target.array)
            chosen = np.flatnonzero(labels.any(axis=(1, 2)))
            pixels = [slices.pixels(int(number)).astype(np.uint8) for number in chosen]
            return {"pixels": np.stack(pixels) if pixels else np.zeros((0, 1, 1), np.uint8), "labels": labels[chosen]}
    except GeometryError:
        raise
    except OmlabError as error:
        raise type(error)(f"Case '{sample.id}': {error}") from error
    raise TrainingError(f"Case '{sample.id}' is not an image or a volume with a label map to learn from.")


def _check_grid(sample: Sample, *, is_same: bool) -> None:
    if not is_same:
        raise GeometryError(
            f"Case '{sample.id}': the labels are not on the grid of their image; shape or position differ."
        )


def _pictures(case: int, labels: NDArray[Any], *, side: int, fit: Fit, ignored: Sequence[int]) -> list[_Picture]:
    """The slices in which some label is left in the network's square."""
    found = []
    for number, plane in enumerate(labels):
        square = Frame(shape=plane.shape, side=side, fit=fit).square(np.asarray(plane))
        values = tuple(int(value) for value in np.unique(square) if value and value not in ignored)
        if values:
            found.append(_Picture(case=case, slice=number, values=values))
    return found

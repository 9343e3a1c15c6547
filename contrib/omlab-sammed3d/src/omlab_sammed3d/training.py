"""Training with simulated clicks (Wang et al. 2023, section 3): eleven rounds on each image, one loss for each.

A step encodes its images once. Each round clicks on a wrong voxel of the round before, or, in one round drawn from
2..8 and in the last one, gives no click but the mask alone; the low-resolution logits go from round to round with
their gradients. The sum of the rounds' Dice + cross-entropy is what is minimised.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omlab import progress
from omlab.errors import GeometryError, OmlabError, TrainingError
from omlab.roles import Sample
from omlab_kernels import dice_cross_entropy
from omlab_sammed3d.network import SamMed3d
from omlab_sammed3d.predictor import Case
from omlab_sammed3d.windows import along, crop_start, z_normalise
from omlab_volume.orientation import canonical_array
from omlab_volume.training.patches import cut
from omlab_volume.volume import LabelMap, Volume

ROUNDS = 11
THRESHOLD = 0.5
"""Of the logits, not of the probability: what training takes as the mask that is clicked on."""
FEWEST = 1000
"""Voxels that an object must have in a cube of 128^3 to be trained on; in other cubes the same share."""
DECODER_RATE = 0.1
"""Learning rate of prompt encoder and decoder, of the encoder's."""
WEIGHT_DECAY = 0.1
MILESTONES = (0.6, 0.9)
"""Shares of the epochs after which the learning rate drops to a tenth (120 and 180 of 200)."""


class ClickRounds(nn.Module):
    """A network in its eleven rounds."""

    def __init__(self, network: SamMed3d) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, truth: Tensor, draws: Tensor, mask_round: int) -> tuple[Tensor, Tensor]:
        """Losses and Dice of the rounds.

        Args:
            image: (B, 1, S, S, S), z-normalised.
            truth: (B, S, S, S) int64, 1 in the object.
            draws: (B, rounds) numbers of [0, 1): which of the wrong voxels is clicked.
            mask_round: The round, from 0, that gets the mask alone; so does the last one.

        Returns:
            (rounds,) losses, and (rounds,) mean Dice of the masks, without gradients.
        """
        embedding = self.network.image_encoder(image)
        rounds = draws.shape[1]
        low: Tensor | None = None
        full = torch.zeros_like(image)
        losses, dices = [], []
        for number in range(rounds):
            clicked: dict[str, Any] = {}
            if number not in (mask_round, rounds - 1):
                found = [
                    drawn_click(f[0] > THRESHOLD, t, d) for f, t, d in zip(full, truth, draws[:, number], strict=True)
                ]
                clicked["points"] = torch.stack([place for place, _ in found])[:, None]
                clicked["labels"] = torch.stack([label for _, label in found])[:, None]
            low, _ = self.network.decode(embedding, previous=low, **clicked)
            full = self.network.upsample(low)
            losses.append(click_loss(full, truth))
            dices.append(_dice(full.detach()[:, 0] > 0, truth > 0))
        return torch.stack(losses), torch.stack(dices)


def drawn_click(mask: Tensor, truth: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
    """A wrong voxel (3,) of a mask (S, S, S), and its label: 1 where it was missed, 0 where it is false.

    `draw` in [0, 1) chooses among them in C order; where none is wrong, among the object's.
    """
    wrong = mask != (truth > 0)
    places = (wrong if bool(wrong.any()) else truth > 0).nonzero()
    place = places[min(int(float(draw) * len(places)), len(places) - 1)]
    return place, (truth[tuple(place)] > 0).long()


def click_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Soft Dice (sigmoid, squared denominators, smooth 1e-5) + binary cross-entropy: MONAI's DiceCELoss from 1.3 on.

    The MONAI of the authors' time gave the cross-entropy of a single channel as 0; which one the published
    weights saw is not known.

    Args:
        logits: (B, 1, S, S, S).
        truth: (B, S, S, S) of 0 and 1.
    """
    return dice_cross_entropy(logits, truth[:, None], sigmoid=True, squared=True, smooth=1e-5)


class ClickTask:
    """Trains a network with simulated clicks on every label of every sample; fulfils `omlab_train.TrainingTask`.

    AdamW, weight decay 0.1; prompt encoder and decoder learn at a tenth of the encoder's rate. Cube, flips and clicks
    are functions of seed and step alone. Objects of too few voxels (`FEWEST`) are left out.

    Args:
        network: What is trained, in place.
        samples: Volumes with label maps; each label of each is an object.
        prepare: Checks a volume and lays it along its closest RAS+ axes.
        spacing: Voxel size in mm that all is resampled to, volumes linearly and labels to the nearest.
        batch_size: Cubes in a step.
        steps_per_epoch: Steps between two checkpoints.
        epochs: Epochs in all.
        learning_rate: The encoder's first one.
        flip: Whether each axis is flipped with probability 1/2.
        seed: What all randomness comes from.

    Raises:
        TrainingError: There is no case, or no object in them that is large enough.
        GeometryError, InputError: A case cannot be used; names it.
    """

    max_grad_norm: float | None = None

    def __init__(
        self,
        *,
        network: SamMed3d,
        samples: Sequence[Sample],
        prepare: Callable[[Volume], Case],
        spacing: float,
        batch_size: int,
        steps_per_epoch: int,
        epochs: int,
        learning_rate: float,
        flip: bool,
        seed: int,
    ) -> None:
        self.module: nn.Module = ClickRounds(network)
        self.side = network.config.image_size
        self.parts = (network.image_encoder, network.prompt_encoder, network.mask_decoder)
        self.batch_size, self.steps_per_epoch, self.epochs = batch_size, steps_per_epoch, epochs
        self.initial_learning_rate, self.flip, self.seed = learning_rate, flip, seed
        self.images: list[NDArray[np.float32]] = []
        self.labels: list[NDArray[Any]] = []
        with progress.task("preparing cases", total=len(samples)) as advance:
            for sample in samples:
                image, labels = _resampled(sample, prepare=prepare, spacing=spacing)
                self.images.append(image)
                self.labels.append(labels)
                advance(1)
        self.objects = [
            (case, value, start)
            for case, labels in enumerate(self.labels)
            for value, start in _objects(labels, side=self.side)
        ]
        if not self.objects:
            raise TrainingError(
                f"No label has more than {_fewest(self.side):.0f} voxels in a cube of {self.side}^3 at {spacing:g} mm: "
                "there is nothing to train on."
            )

    def batch(self, step: int) -> dict[str, Any]:
        """`image` (B, 1, S, S, S), `truth` (B, S, S, S), `draws` (B, rounds) and `mask_round` of one step."""
        images, truths, draws = [], [], []
        for number in range(self.batch_size):
            rng = np.random.default_rng([self.seed, step, number])
            case, value, start = self.objects[rng.integers(len(self.objects))]
            where: dict[str, Any] = {"start": start.tolist(), "patch_size": (self.side,) * 3}
            image, truth = cut(self.images[case], **where), cut(self.labels[case], **where) == value
            axes = tuple(np.flatnonzero(rng.random(3) < 0.5).tolist()) if self.flip else ()
            images.append(z_normalise(torch.from_numpy(np.flip(image, axes).copy())))
            truths.append(torch.from_numpy(np.flip(truth, axes).copy()).long())
            draws.append(torch.from_numpy(rng.random(ROUNDS)))
        mask_round = int(np.random.default_rng([self.seed, step]).integers(2, 9))
        return {
            "image": torch.stack(images)[:, None],
            "truth": torch.stack(truths),
            "draws": torch.stack(draws),
            "mask_round": mask_round,
        }

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, float]]:
        """The sum of the rounds' losses; beside it the Dice after the first and the last round."""
        losses, dices = self.module(**batch)
        return losses.sum(), {"dice_first": float(dices[0]), "dice_last": float(dices[-1])}

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW with a group, and a scale of the learning rate, for each part of the network."""
        groups = [
            {"params": list(part.parameters()), "scale": scale}
            for part, scale in zip(self.parts, (1.0, DECODER_RATE, DECODER_RATE), strict=True)
        ]
        return ScaledAdamW(groups, lr=self.initial_learning_rate, weight_decay=WEIGHT_DECAY)

    def learning_rate(self, step: int) -> float:
        """The encoder's rate: a tenth after each of `MILESTONES`."""
        done = step // self.steps_per_epoch
        passed = sum(done >= share * self.epochs for share in MILESTONES)
        return float(self.initial_learning_rate * 0.1**passed)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all that the batches depend on: a checkpoint of another one is not resumed."""
        settings = {"side": self.side, "batch_size": self.batch_size, "flip": self.flip, "seed": self.seed}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for array in (*self.images, *self.labels):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


class ScaledAdamW(torch.optim.AdamW):
    """AdamW whose groups learn at `scale` times the rate that the training loop sets for all of them."""

    def step(self, closure: Any = None) -> Any:
        """One step of each group at its own rate."""
        rates = [group["lr"] for group in self.param_groups]
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate * group["scale"]
        try:
            return super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate


def _resampled(
    sample: Sample, *, prepare: Callable[[Volume], Case], spacing: float
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Image and labels of a case along its closest RAS+ axes at `spacing`."""
    volume, target = sample.payload, sample.target
    if not isinstance(volume, Volume) or not isinstance(target, LabelMap):
        raise TrainingError(f"Case '{sample.id}' is not a volume with a label map to learn from.")
    if not target.same_grid(volume):
        raise GeometryError(
            f"Case '{sample.id}': the labels ({target.grid.shape} voxels) are not on the grid of their image "
            f"({volume.grid.shape} voxels); shape or position differ."
        )
    try:
        case = prepare(volume)
    except OmlabError as error:
        raise type(error)(f"Case '{sample.id}': {error}") from error
    image, labels = case.source, canonical_array(target.array, target.grid)
    for axis, (size, own) in enumerate(zip(case.grid.shape, case.grid.spacing, strict=True)):
        wanted = max(1, round(size * own / spacing))
        places = (np.arange(wanted) + 0.5) * size / wanted - 0.5
        image = along(image, places, axis=axis)
        labels = labels.take(np.rint(places).clip(0, size - 1).astype(np.intp), axis=axis)
    return image.numpy(), labels


def _objects(labels: NDArray[Any], *, side: int) -> list[tuple[int, NDArray[np.int_]]]:
    """Each label with enough voxels in its cube, and where that cube begins."""
    found = []
    for value in np.unique(labels[labels > 0]):
        places = np.argwhere(labels == value)
        start = crop_start(places.min(axis=0), places.max(axis=0), side=side)
        inside = ((places >= start) & (places < start + side)).all(axis=1)
        if inside.sum() > _fewest(side):
            found.append((int(value), start))
    return found


def _fewest(side: int) -> float:
    return FEWEST * (side / 128) ** 3


def _dice(mask: Tensor, truth: Tensor) -> Tensor:
    both, sizes = (mask & truth).flatten(1).sum(1), mask.flatten(1).sum(1) + truth.flatten(1).sum(1)
    return (2 * both / sizes).mean()

"""Training with simulated clicks (Wang et al. 2023, section 3): eleven rounds on each image, one loss for each.

A step encodes its images once. Each round clicks on a wrong voxel of the round before, or, in one round drawn from
2..8 and in the last one, gives no click but the mask alone; the low-resolution logits go from round to round with
their gradients. The sum of the rounds' Dice + cross-entropy is what is minimised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]
from torch import Tensor, nn

from omlab import progress
from omlab.digests import digest_of
from omlab.errors import GeometryError, OmlabError, TrainingError
from omlab.roles import Case, Dataset, Sample
from omlab_kernels import dice_cross_entropy
from omlab_sammed3d.network import SamMed3d
from omlab_sammed3d.predictor import laid_out
from omlab_sammed3d.windows import NOWHERE, along, crop_start, z_normalise
from omlab_train import Group, Optimisation
from omlab_train.cache import Entry, PreparedCache
from omlab_volume.orientation import canonical_array
from omlab_volume.training.patches import cut
from omlab_volume.training.targets import volume_name
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
HOW = Optimisation(find_unused_parameters=True)
"""AdamW; the embeddings of boxes and the predicted IoUs take no part in the loss."""


class ClickRounds(nn.Module):
    """A network in its eleven rounds."""

    def __init__(self, network: SamMed3d) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, image: Tensor, truth: Tensor, draws: Tensor, mask_round: int, left_out: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Losses and Dice of the rounds.

        Args:
            image: (B, 1, S, S, S), z-normalised.
            truth: (B, S, S, S) int64, 1 in the object.
            draws: (B, rounds) numbers of [0, 1): which of the wrong voxels is clicked.
            mask_round: The round, from 0, that gets the mask alone; so does the last one.
            left_out: (B, S, S, S) bool: voxels that nobody annotated; `truth` is 0 there.

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
            if left_out is not None:  # as sure as can be, and right: no loss, no gradient, no click
                full = full.masked_fill(left_out[:, None], NOWHERE)
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


@dataclass(frozen=True, kw_only=True)
class _Object:
    """A label of a prepared case, and where the cube around it begins (voxels of the working grid)."""

    case: int
    value: int
    start: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class CubeBatches:
    """Batches of cubes around objects: cube, flips and clicks are functions of seed and number alone.

    `entries` are prepared cases on disk, `image` (I, J, K) float32 and `labels` of the same shape; nothing is held in
    memory, so that the batches travel to worker processes.
    """

    entries: Sequence[Entry]
    objects: Sequence[_Object]
    side: int
    cubes: int
    flip: bool
    seed: int
    ignored: Sequence[int] = ()

    def __call__(self, step: int) -> dict[str, Any]:
        """`image` (B, 1, S, S, S), `truth` (B, S, S, S), `draws` (B, rounds) and `mask_round` of one step.

        Where the data have `ignored` values, `left_out` (B, S, S, S) too.
        """
        images, truths, left_out, draws = [], [], [], []
        for number in range(self.cubes):
            rng = np.random.default_rng([self.seed, step, number])
            found = self.objects[int(rng.integers(len(self.objects)))]
            entry = self.entries[found.case]
            where: dict[str, Any] = {"start": list(found.start), "patch_size": (self.side,) * 3}
            image, labels = cut(entry["image"], **where), cut(entry["labels"], **where)
            axes = tuple(np.flatnonzero(rng.random(3) < 0.5).tolist()) if self.flip else ()
            images.append(z_normalise(torch.from_numpy(np.flip(image, axes).copy())))
            truths.append(torch.from_numpy(np.flip(labels == found.value, axes).copy()).long())
            left_out.append(torch.from_numpy(np.flip(np.isin(labels, self.ignored), axes).copy()))
            draws.append(torch.from_numpy(rng.random(ROUNDS)))
        mask_round = int(np.random.default_rng([self.seed, step]).integers(2, 9))
        batch = {
            "image": torch.stack(images)[:, None],
            "truth": torch.stack(truths),
            "draws": torch.stack(draws),
            "mask_round": mask_round,
        }
        return batch | ({"left_out": torch.stack(left_out)} if self.ignored else {})


@dataclass(kw_only=True)
class ClickRecipe:
    """Trains a network with simulated clicks (`omlab_train.Recipe`).

    AdamW, weight decay 0.1; prompt encoder and decoder learn at a tenth of the encoder's rate, all of it falls to a
    tenth after each of `MILESTONES`.

    Args:
        network: What is trained, in place. `module` is it in its rounds.
        batches: Cubes.
        epoch: Steps between two checkpoints.
        epochs: How many times.
        learning_rate: The encoder's first one.
        fingerprint: Digest of what the batches depend on.
    """

    network: SamMed3d
    batches: CubeBatches
    epoch: int
    epochs: int
    learning_rate: float
    fingerprint: str
    how: Optimisation = HOW
    module: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.module = ClickRounds(self.network)

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.epoch * self.epochs

    def groups(self) -> list[Group]:
        """A group for each part of the network, with its rate."""
        parts = {"image_encoder": 1.0, "prompt_encoder": DECODER_RATE, "mask_decoder": DECODER_RATE}
        return [
            {
                "params": list(self.network.get_submodule(part).parameters()),
                "lr": self.learning_rate * scale,
                "weight_decay": WEIGHT_DECAY,
            }
            for part, scale in parts.items()
        ]

    def schedule(self, step: int) -> float:
        """A tenth after each of `MILESTONES`."""
        passed = sum(step // self.epoch >= share * self.epochs for share in MILESTONES)
        return float(0.1**passed)

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, float]]:
        """The sum of the rounds' losses; beside it the Dice after the first and the last round."""
        losses, dices = self.module(**batch)
        return losses.sum(), {"dice_first": float(dices[0]), "dice_last": float(dices[-1])}

    def validate(self) -> None:
        """Nothing is held back."""


def click_recipe(
    network: SamMed3d,
    data: Dataset,
    *,
    spacing: float,
    cubes: int,
    steps_per_epoch: int,
    epochs: int,
    learning_rate: float,
    flip: bool,
    seed: int,
) -> ClickRecipe:
    """The recipe for the training split of a data set. Objects of too few voxels (`FEWEST`) are left out.

    Args:
        network: What is trained, in place.
        data: Volumes with label maps; each label of each is an object; voxels that count as not annotated are left out.
            A case is read once, resampled (volumes linearly, labels to the nearest voxel) and kept in the cache of
            prepared cases.
        spacing: Voxel size in mm that all is resampled to.
        cubes: In a step.
        steps_per_epoch: Steps between two checkpoints.
        epochs: Epochs in all.
        learning_rate: The encoder's first one.
        flip: Whether each axis is flipped with probability 1/2.
        seed: What all randomness comes from.

    Raises:
        TrainingError: There is no case, or no object in them that is large enough.
        GeometryError, InputError: A case cannot be used; names it.
    """
    about, side = data.about("train"), network.config.image_size
    name = volume_name(about)
    cases, digest = data.cases("train"), data.digest("train")
    cache, entries, objects = PreparedCache(), [], []
    with progress.bar("preparing cases", total=len(cases)) as advance:
        for number, case in enumerate(cases):
            key = digest_of(["sammed3d", 1, digest, case.id, spacing])
            entries.append(cache.get(key, partial(_prepared, case, name=name, spacing=spacing)))
            found = _objects(entries[-1]["labels"], side=side)
            objects += [
                _Object(case=number, value=value, start=start)
                for value, start in found.items()
                if value not in about.ignored
            ]
            advance(1)
    if not objects:
        raise TrainingError(
            f"No label has more than {_fewest(side):.0f} voxels in a cube of {side}^3 at {spacing:g} mm: "
            "there is nothing to train on."
        )
    facts: dict[str, Any] = {"side": side, "cubes": cubes, "flip": flip, "seed": seed, "ignored": tuple(about.ignored)}
    batches = CubeBatches(entries=entries, objects=objects, **facts)
    return ClickRecipe(
        network=network,
        batches=batches,
        epoch=steps_per_epoch,
        epochs=epochs,
        learning_rate=learning_rate,
        fingerprint=digest_of({"data": digest, "spacing": spacing, **facts}),
    )


def _prepared(case: Case, *, name: str, spacing: float) -> Mapping[str, NDArray[Any]]:
    image, labels = _resampled(case.load(), name=name, spacing=spacing)
    return {"image": image, "labels": labels}


def _resampled(sample: Sample, *, name: str, spacing: float) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Image and labels of a case along its closest RAS+ axes at `spacing`."""
    volume, target = sample.inputs[name], sample.target
    if not isinstance(volume, Volume) or not isinstance(target, LabelMap):
        raise TrainingError(f"Case '{sample.id}' is not a volume with a label map to learn from.")
    if not target.same_grid(volume):
        raise GeometryError(
            f"Case '{sample.id}': the labels ({target.grid.shape} voxels) are not on the grid of their image "
            f"({volume.grid.shape} voxels); shape or position differ."
        )
    try:
        case = laid_out(volume)
    except OmlabError as error:
        raise type(error)(f"Case '{sample.id}': {error}") from error
    image, labels = case.source, canonical_array(target.array, target.grid)
    for axis, (size, own) in enumerate(zip(case.grid.shape, case.grid.spacing, strict=True)):
        wanted = max(1, round(size * own / spacing))
        places = (np.arange(wanted) + 0.5) * size / wanted - 0.5
        image = along(image, places, axis=axis)
        labels = labels.take(np.rint(places).clip(0, size - 1).astype(np.intp), axis=axis)
    return image.numpy(), labels


def _objects(labels: NDArray[Any], *, side: int) -> dict[int, tuple[int, int, int]]:
    """Each label with enough voxels in its cube, and where that cube begins."""
    found = {}
    values, numbers = np.unique(labels, return_inverse=True)
    for value, spans in zip(values.tolist(), ndimage.find_objects(numbers.reshape(labels.shape) + 1), strict=True):
        if value == 0:
            continue
        low, high = (np.array([getattr(span, end) for span in spans]) for end in ("start", "stop"))
        start = crop_start(low, high - 1, side=side)
        cube = tuple(slice(max(0, int(n)), max(0, int(n) + side)) for n in start)
        if np.count_nonzero(labels[cube] == value) > _fewest(side):
            i, j, k = (int(n) for n in start)
            found[value] = (i, j, k)
    return found


def _fewest(side: int) -> float:
    return FEWEST * (side / 128) ** 3


def _dice(mask: Tensor, truth: Tensor) -> Tensor:
    both, sizes = (mask & truth).flatten(1).sum(1), mask.flatten(1).sum(1) + truth.flatten(1).sum(1)
    return (2 * both / sizes).mean()

"""How sure a segmentation is that is computed block by block, in a few sums, whatever the image's size.

What is summed belongs to the blocks that were given so far and to nothing else: who writes them keeps `state` with
them, and goes on from it when it was stopped. Of every few slices one is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab_payloads.sureness import Sureness
from omlab_volume.labels import voxel_counts
from omlab_volume.volume import Label

_SLICES = 8
"""Of so many one is looked at, or more where they are small."""


class Tally:
    """Sureness and voxels of classes (`omlab_volume.big.voxels.Counted`).

    Args:
        labels: Of the classes 1, 2, ...
        classes: K, with the background.
        voxel_ml: The volume of a voxel.
        blocks: How many blocks there are.
        softmax: Whether scores are logits.
    """

    def __init__(
        self, labels: Sequence[Label], *, classes: int, voxel_ml: float, blocks: int, softmax: bool = False
    ) -> None:
        self.labels, self.classes, self.voxel_ml, self.blocks = tuple(labels), classes, voxel_ml, blocks
        self.softmax = softmax
        self._clear()

    def _clear(self) -> None:
        self.done = 0
        self._sureness = Sureness(self.classes, softmax=self.softmax)
        self._voxels = np.zeros(self.classes, np.int64)

    def fresh(self) -> Tally:
        """One of the same classes that has counted nothing."""
        return Tally(
            self.labels, classes=self.classes, voxel_ml=self.voxel_ml, blocks=self.blocks, softmax=self.softmax
        )

    def begin(self, first: int) -> Tally:
        """The tally for blocks from number `first` on: this one, or another where this one counted other blocks."""
        if self.done == self.blocks or first not in (0, self.done):
            return self.fresh()
        if first == 0:
            self._clear()
        return self

    def add_scores(self, labels: NDArray[Any], scores: Tensor, *, weight: Tensor | None = None) -> None:
        """Count labels (d, h, w) that were decided by scores (K, d, h, w), to be divided by `weight` (d, h, w)."""
        self._voxels += voxel_counts(labels, least=self.classes)
        for at in range(0, len(labels), _SLICES):
            part = slice(at, at + _SLICES)
            own = None if weight is None else weight[part]
            decided = torch.from_numpy(labels[part].astype(np.int64)).to(scores.device)
            self._sureness.add_scores(scores[:, part], weight=own, labels=decided)

    def add_decided(self, labels: NDArray[Any], probability: NDArray[Any]) -> None:
        """Count labels (d, h, w) that were decided each by its `probability` (d, h, w) against the background."""
        self._voxels += voxel_counts(labels, least=self.classes)
        for at in range(0, len(labels), _SLICES):
            part = slice(at, at + _SLICES)
            shown = torch.from_numpy(np.asarray(probability[part], np.float32))
            self._sureness.add_decided(torch.from_numpy(labels[part].astype(np.int32)), shown)

    def take(self, other: Tally) -> None:
        """Count what another one counted of the same block."""
        self._voxels += other._voxels
        self._sureness.take(other._sureness)

    def end_block(self) -> None:
        """Say that all of a block was counted."""
        self.done += 1

    def state(self) -> dict[str, Any]:
        """What was counted, as JSON."""
        return {"done": self.done, "voxels": self._voxels.tolist(), "sums": self._sureness.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises `KeyError`, `TypeError` or `ValueError` for what is no state of these classes."""
        voxels = np.array(state["voxels"], np.int64)
        if voxels.shape != (self.classes,):
            raise ValueError(f"The state is of {len(voxels)} classes, not {self.classes}.")
        self._sureness.restore(state["sums"])
        self._voxels, self.done = voxels, int(state["done"])

    def facts(self) -> dict[str, Any]:
        """What the label map tells, as `LabelMap.facts`; nothing before all blocks were counted."""
        if self.done < self.blocks:
            return {}
        names = {label.value: label.name for label in self.labels}
        return self._sureness.facts(names, counts=self._voxels.tolist(), voxel_ml=self.voxel_ml)

"""Boxes of structures in a volume, in voxels of its file, from a support: what the models of this package share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab_medlsam.localisation import BATCH, Found, anchor_of, localise, random_centres
from omlab_medlsam.network import MedLam
from omlab_medlsam.reference import Reference, reference_of
from omlab_medlsam.space import corners_of
from omlab_medlsam.supports import Support
from omlab_medlsam.working import WorkingCopy
from omlab_payloads.boxes import Box


@dataclass(frozen=True, eq=False, kw_only=True)
class Placed:
    """A structure in a volume: a box of it, or one of each part along z.

    Attributes:
        value: Of its label.
        name: What it is called.
        corners: (N, 2, 3) first and last voxels (i, j, k), those of the file, both of the box.
        likeness: Mean cosine of the features at the six points of each box to those of the support; None: not asked.
    """

    value: int
    name: str
    corners: NDArray[np.int_]
    likeness: list[float] | None

    def boxes(self) -> list[Box]:
        """The boxes, from the outer faces of their voxels."""
        scores: Sequence[float | None] = self.likeness or [None] * len(self.corners)
        return [
            Box(near=tuple(low - 0.5), far=tuple(high + 0.5), label=self.name, score=score)
            for (low, high), score in zip(self.corners.astype(float), scores, strict=True)
        ]


class Localiser:
    """Places structures in volumes, and remembers what the last support said to a network.

    Args:
        batch_size: Patches that go through a network at once.
    """

    def __init__(self, *, batch_size: int = BATCH) -> None:
        self.batch_size = batch_size
        self._known: tuple[object, Reference] | None = None

    def reference(self, network: MedLam, support: Support, *, slice_interval: int) -> Reference:
        """What a support says of its structures; the last one's is remembered. Raises `InputError`."""
        changes = sum(parameter._version for parameter in network.parameters())
        key = (id(network), changes, support.stamp(), slice_interval)
        if self._known is None or self._known[0] != key:
            found = reference_of(network, support, slice_interval=slice_interval, batch_size=self.batch_size)
            self._known = (key, found)
        return self._known[1]

    def place(
        self,
        network: MedLam,
        copy: WorkingCopy,
        support: Support,
        *,
        slice_interval: int,
        refine: bool,
        seed: int,
    ) -> list[Placed]:
        """The structures of a support in a volume.

        Args:
            network: In eval mode, on its device.
            copy: Of the volume.
            support: Annotated scans.
            slice_interval: Fewest slices of 3 mm of a part of a structure; 0: structures are taken as a whole.
            refine: Whether features correct what positions say.
            seed: Of the patches that tell where the volume lies.

        Raises:
            InputError: The volume is empty about its middle, or a support scan cannot be used.
        """
        reference = self.reference(network, support, slice_interval=slice_interval)
        centres = random_centres(copy.image, seed=seed)
        anchor = anchor_of(network, copy.image, centres=centres, batch_size=self.batch_size)
        placed = []
        for structure in reference.structures:
            found = localise(network, copy.image, anchor, structure, refine=refine, batch_size=self.batch_size)
            placed.append(
                Placed(
                    value=structure.value,
                    name=structure.name,
                    corners=_corners(found, copy),
                    likeness=_likeness(found),
                )
            )
        return placed


def _corners(found: Found, copy: WorkingCopy) -> NDArray[np.int_]:
    """(N, 2, 3) voxels (i, j, k); what lies outside the file is brought to its edge."""
    groups = found.points.reshape(-1, 6, 3)
    boxes = np.stack([corners_of(copy.space.extremes_in_file(group)) for group in groups])[..., ::-1]
    inside = boxes.clip(0, np.array(copy.space.grid.shape) - 1).astype(int)
    return np.sort(inside, axis=1)


def _likeness(found: Found) -> list[float] | None:
    if found.likeness is None:
        return None
    return [float(mean) for mean in found.likeness.reshape(-1, 6).mean(1)]

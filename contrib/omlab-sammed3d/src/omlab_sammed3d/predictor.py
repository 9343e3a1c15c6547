"""From prompts in an image to a mask on its grid: crop, spacing, normalisation, rounds of clicks, windows.

The network sees cubes at 1.5 mm along the image's axes in their closest RAS+ order; `session` has the rounds of an
object in them. The mask is read off the blended logits at the image's own voxels.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab import progress
from omlab.errors import InputError, UsageError
from omlab_prompts.prompts import Object, Prompts
from omlab_sammed3d.network import SamMed3d
from omlab_sammed3d.session import Embeddings, Session
from omlab_sammed3d.windows import Array
from omlab_volume.inference.claims import Claims
from omlab_volume.orientation import canonical_array, canonical_grid, canonical_order, reorient_labels
from omlab_volume.volume import Grid, Label, LabelMap, Volume

SPACING = 1.5
"""mm: of all data that the published weights were trained with."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A volume that has been checked: `source` (I, J, K) float32 lies along the axes of `grid`, the closest to RAS+.

    `embeddings` holds the cubes of it that were encoded.
    """

    volume: Volume
    source: Tensor
    grid: Grid
    embeddings: Embeddings = field(default_factory=dict)


class Predictor:
    """Masks of objects that a user points at.

    The encoded cubes of the last volume are remembered for as long as somebody holds that volume: further clicks in it
    do not encode it again.

    Args:
        network: In eval mode, on the device that is to be used.
        spacing: Voxel size in mm to work at: 1.5 for all published weights.
    """

    def __init__(self, network: SamMed3d, *, spacing: float = SPACING) -> None:
        if spacing <= 0:
            raise ValueError(f"The spacing must be positive, not {spacing}.")
        self.network, self.spacing = network, spacing
        self._encoded: MutableMapping[Volume, Embeddings] = WeakKeyDictionary()

    def predict(self, volume: Volume, prompts: Prompts) -> LabelMap:
        """The objects of `prompts` as labels 1, 2, ... in their order, on the grid of `volume`.

        Where two objects claim a voxel, the surer one has it. The clicks of an object are given to the network
        one more in each round, with the logits of the round before; a box goes before them and with them.

        Args:
            volume: Of one channel, any orientation and spacing.
            prompts: Points, and boxes where the network takes them, that belong to this volume.

        Raises:
            InputError: The volume has several channels or values that are not finite.
            GeometryError: A prompt lies outside the volume.
            UsageError: Several boxes for one object, or an object without a box whose first click is not in it.
        """
        case = self.prepare(volume)
        image = prompts.image or "the volume"
        voxels = prompts.in_voxels(volume.affine.tolist(), shape=volume.grid.shape, image=image)
        sessions = []
        for entry in voxels.objects:
            self._check(entry)
            sessions.append(self.begin(case, entry))
        with progress.bar("objects", total=len(sessions)) as advance:
            found = self.labels(case, sessions, advance=advance)
        for session in sessions:
            session.warn_of_what_is_out_of_reach()
        return found

    def prepare(self, volume: Volume) -> Case:
        """The volume along its closest RAS+ axes. Raises `InputError` where it cannot be used."""
        case = laid_out(volume)
        if volume not in self._encoded:
            self._encoded.clear()
            self._encoded[volume] = case.embeddings
        return replace(case, embeddings=self._encoded[volume])

    def begin(self, case: Case, entry: Object) -> Session:
        """The rounds of an object with all its clicks; `entry` is in voxels of the volume."""
        box = None
        if entry.boxes:
            corners = canonical_voxels(np.array([entry.boxes[0].near, entry.boxes[0].far]), case.volume.grid)
            box = np.stack((corners.min(axis=0), corners.max(axis=0)))
        at = canonical_voxels(np.array([point.at for point in entry.points]).reshape(-1, 3), case.volume.grid)
        session = Session(
            self.network,
            case.source,
            ratio=self.spacing / np.array(case.grid.spacing),
            start=at[0] if box is None else box.mean(axis=0),
            box=box,
            name=entry.name,
            embeddings=case.embeddings,
        )
        for place, point in zip(at, entry.points, strict=True):
            session.click(place, label=point.label)
        return session

    def labels(self, case: Case, sessions: Sequence[Session], *, advance: progress.Advance | None = None) -> LabelMap:
        """What the objects have come to, as labels 1, 2, ... on the grid of the volume."""
        claims = Claims(case.grid.shape, objects=len(sessions))
        for number, session in enumerate(sessions, start=1):
            claims.claim(session.logits(), label=number, at=session.region)
            if advance is not None:
                advance(1)
        return LabelMap(
            array=reorient_labels(claims.labels, case.volume.grid),
            affine=case.volume.affine,
            labels=tuple(Label(value=n, name=session.name) for n, session in enumerate(sessions, start=1)),
            source=case.volume.source,
            # the IoUs that the network predicts were never trained: nothing is said of them
            facts=claims.facts([session.name for session in sessions], voxel_ml=case.grid.voxel_ml),
        )

    def _check(self, entry: Object) -> None:
        if len(entry.boxes) > 1:
            raise UsageError(f"'{entry.name}' has {len(entry.boxes)} boxes: give one, and each further object its own.")
        if not entry.boxes and entry.points[0].label != 1:
            raise UsageError(f"The first click of '{entry.name}' must be in the object (label 1), or give a box too.")


def laid_out(volume: Volume) -> Case:
    """A volume along its closest RAS+ axes. Raises `InputError` for several channels or values that are not finite."""
    if volume.channels != 1:
        raise InputError(f"SAM-Med3D takes volumes of one channel; this one has {volume.channels}.")
    array: NDArray[np.float32] = np.asarray(volume.array[0], np.float32)
    if not np.isfinite(array).all():
        raise InputError("The volume has values that are not finite (NaN or infinite): replace them first.")
    source = torch.from_numpy(np.ascontiguousarray(canonical_array(array, volume.grid)))
    return Case(volume=volume, source=source, grid=canonical_grid(volume.grid))


def canonical_voxels(at: Array, grid: Grid) -> Array:
    """Positions (N, 3) in voxels of `grid`, in voxels of `canonical_grid(grid)`."""
    order = canonical_order(grid.affine)
    columns = [
        grid.shape[axis] - 1 - at[:, axis] if flipped else at[:, axis]
        for axis, flipped in zip(order.axes, order.flipped, strict=True)
    ]
    # what moving to the world and back leaves must decide nothing: not between two voxels, not at the image's rim
    return np.asarray(np.round(np.stack(columns, axis=1), 6), np.float64)

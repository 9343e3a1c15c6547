"""Localising structures in a query volume from a few annotated support scans.

    structures = describe(network, images, labels, names={1: "liver"}, slice_interval=2)    # of the support, once
    anchor = anchor_of(network, image, centres=random_centres(image, seed=0))               # of the query
    found = localise(network, image, anchor, structures[0])                                 # six points, or six a part

Images are working copies (Z, Y, X) (`omlab_medlsam.working`), and places are their voxels; what a patch has beyond
them is 0. Source: Lei et al. 2023, arXiv 2306.14752, section III.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab.errors import InputError
from omlab_medlsam.landmarks import Points, bounds_of, extreme_points, part_count, part_points
from omlab_medlsam.matching import best_match, central_cubes, in_unit_length
from omlab_medlsam.network import MedLam
from omlab_medlsam.space import SPACING
from omlab_medlsam.working import Image, Labels
from omlab_volume.training.patches import cut

REACH = (1500.0, 600.0, 600.0)
"""mm along z, y, x that the tangent of a difference of positions is multiplied by."""
CENTRES = 10
"""Random patches that say where a query volume lies."""
SPREAD = 10
"""Voxels that their centres lie from the middle at most."""
DARKEST = 0.001
"""A patch's centre is not empty from here on."""
BATCH = 4
"""Patches that go through the network at once."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Structure:
    """What the support says of a structure at each of its points: six of the whole, or six of each part along z.

    Attributes:
        value: Of its label.
        name: What it is called.
        positions: (P, 3), means over the support scans.
        cubes: Features around the points, (P, C, 2 r, 2 r, 2 r) for each scale, sums over the support scans.
        supports: How many scans.
    """

    value: int
    name: str
    positions: Tensor
    cubes: tuple[Tensor, ...]
    supports: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Anchor:
    """Where a query volume lies: the mean position (3,) of patches, and the mean of their centres (3,) in voxels."""

    position: Tensor
    centre: NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """The points of a structure in a query volume.

    Attributes:
        relative: (P, 3) mm from the anchor's centre, by the positions alone.
        coarse: (P, 3) voxels that these are.
        steps: (P, 3) voxels that the features add; None: they were not asked.
        likeness: (P,) of the features there (`omlab_medlsam.matching.Match`); None likewise.
        margins: (P,) likewise.
    """

    relative: NDArray[np.float64]
    coarse: NDArray[np.int_]
    steps: NDArray[np.int_] | None = None
    likeness: NDArray[np.float64] | None = None
    margins: NDArray[np.float64] | None = None

    @property
    def points(self) -> NDArray[np.int_]:
        """(P, 3) voxels."""
        return self.coarse if self.steps is None else self.coarse + self.steps


def distances(first: Tensor, second: Tensor, *, reach: Sequence[float] = REACH) -> Tensor:
    """How far it is, in mm (z, y, x), from the place of position `second` (..., 3) to that of `first`."""
    return torch.tensor(reach, dtype=first.dtype, device=first.device) * torch.tanh(first - second)


def points_of(labels: Sequence[Labels], *, value: int, slice_interval: int) -> list[Points]:
    """The points of a structure in each support scan, as many in each; it has voxels in all of them.

    Args:
        labels: Working labels of the scans.
        value: Of the structure.
        slice_interval: Fewest slices of a part along z; 0: structures are taken as a whole.
    """
    masks = [one == value for one in labels]
    bounds = [bounds_of(mask) for mask in masks]
    parts = part_count([b.high[0] - b.low[0] for b in bounds], slice_interval=slice_interval)
    return [part_points(mask, parts=parts) if parts else extreme_points(mask) for mask in masks]


@torch.inference_mode()
def describe(
    network: MedLam,
    images: Iterable[Image],
    labels: Sequence[Labels],
    *,
    names: Mapping[int, str],
    slice_interval: int,
    batch_size: int = BATCH,
) -> list[Structure]:
    """What support scans say of their structures.

    Args:
        network: In eval mode.
        images: The scans, asked for one by one.
        labels: Of each scan, with voxels of every structure.
        names: Of the structures, by value.
        slice_interval: As `points_of` has it.
        batch_size: Patches at once.
    """
    points = {value: points_of(labels, value=value, slice_interval=slice_interval) for value in names}
    counts = [len(points[value][0]) for value in names]
    positions: Tensor | None = None
    cubes: list[Tensor] = []
    for number, image in enumerate(images):
        wanted = np.concatenate([points[value][number] for value in names])
        places, order = np.unique(wanted, axis=0, return_inverse=True)  # parts share points
        parts: list[list[Tensor]] = [[] for _ in range(4)]
        for patches in _patches(network, image, places, batch_size=batch_size):
            position, features = network(patches)
            for found, part in zip((position, *central_cubes(features)), parts, strict=True):
                part.append(found)
        index = torch.from_numpy(order.reshape(-1)).to(_device(network))
        first, *rest = (torch.cat(part)[index] for part in parts)
        positions = first if positions is None else positions + first
        cubes = rest if not cubes else [a.add_(b) for a, b in zip(cubes, rest, strict=True)]
    assert positions is not None
    split = [torch.split(part, counts) for part in (positions / len(labels), *cubes)]
    return [
        Structure(value=value, name=name, positions=mine, cubes=tuple(levels), supports=len(labels))
        for (value, name), mine, *levels in zip(names.items(), *split, strict=True)
    ]


def random_centres(image: Image, *, seed: int, count: int = CENTRES) -> Points:
    """Centres (count, 3) of patches about the middle of a volume that are not empty; the same for its shape and a seed.

    Raises `InputError` where all is empty there.
    """
    middle = np.array(image.shape) // 2
    low, high = np.maximum(middle - SPREAD, 0), np.minimum(middle + SPREAD, image.shape)
    around = image[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    places = np.argwhere(around >= DARKEST) + low
    if not len(places):
        raise InputError("The middle of the volume is empty: it shows air, or its values are no HU.")
    rng = np.random.default_rng([seed, *image.shape])
    return np.asarray(places[rng.integers(len(places), size=count)])


@torch.inference_mode()
def anchor_of(network: MedLam, image: Image, *, centres: Points, batch_size: int = BATCH) -> Anchor:
    """Where a volume lies, by patches around `centres` (N, 3): the encoder alone sees them."""
    found = [network.position(patches) for patches in _patches(network, image, centres, batch_size=batch_size)]
    return Anchor(position=torch.cat(found).mean(0), centre=np.asarray(centres).mean(0))


@torch.inference_mode()
def localise(
    network: MedLam,
    image: Image,
    anchor: Anchor,
    structure: Structure,
    *,
    refine: bool = True,
    reach: Sequence[float] = REACH,
    batch_size: int = BATCH,
) -> Found:
    """The points of a structure in a volume: by positions, then, with `refine`, by features around where these point.

    Args:
        network: The one that described the structure, in eval mode.
        image: Of the query.
        anchor: Of the query.
        structure: Of the support.
        refine: Whether features are asked.
        reach: What the network was trained with.
        batch_size: Patches at once.
    """
    relative = distances(structure.positions, anchor.position, reach=reach).double().cpu().numpy()
    coarse = np.round(anchor.centre + relative / SPACING).astype(int)
    if not refine:
        return Found(relative=relative, coarse=coarse)
    coarse = coarse.clip(0, np.array(image.shape) - 1)
    centre = np.array(network.config.patch) // 2 - 1
    places, order = np.unique(coarse, axis=0, return_inverse=True)
    wanted = [np.flatnonzero(order.reshape(-1) == n) for n in range(len(places))]  # points of each patch
    steps, likeness, margins = np.zeros((len(coarse), 3), int), np.zeros(len(coarse)), np.zeros(len(coarse))
    number = 0
    for patches in _patches(network, image, places, batch_size=batch_size):
        features = in_unit_length(network.decode(network.encode(patches)))
        for n in range(len(patches)):
            mine = type(features)(*(level[n : n + 1] for level in features))
            for point in wanted[number]:
                cubes = tuple(cube[point] for cube in structure.cubes)
                match = best_match(mine, cubes, supports=structure.supports)
                steps[point] = match.voxel.numpy() - centre
                likeness[point], margins[point] = match.likeness, match.margin
            number += 1
    return Found(relative=relative, coarse=coarse, steps=steps, likeness=likeness, margins=margins)


def _patches(network: MedLam, image: Image, centres: Points, *, batch_size: int) -> Iterator[Tensor]:
    """Batches (B, 1, D, H, W) of the patches around centres, on the network's device."""
    size = network.config.patch
    for first in range(0, len(centres), batch_size):
        starts = np.asarray(centres[first : first + batch_size]) - np.array(size) // 2
        batch = np.stack([cut(image, start=start, patch_size=size) for start in starts])
        yield torch.from_numpy(batch)[:, None].to(_device(network))


def _device(network: MedLam) -> torch.device:
    return network.fc3.weight.device

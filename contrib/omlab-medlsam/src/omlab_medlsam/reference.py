"""From a support to what is looked for in query volumes: one scan is in memory at a time, at 3 mm all that is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from omlab import progress
from omlab.errors import GeometryError, InputError
from omlab_medlsam.localisation import BATCH, Structure, describe
from omlab_medlsam.network import MedLam
from omlab_medlsam.supports import Scan, Support
from omlab_medlsam.working import Image, Labels, working_copy, working_labels
from omlab_volume.geometry import Grid
from omlab_volume.labels import Label, complete_labels


@dataclass(frozen=True, eq=False, kw_only=True)
class Reference:
    """What a support says of its structures, and their labels as its first scan has them."""

    structures: list[Structure]
    labels: list[Label]


def reference_of(network: MedLam, support: Support, *, slice_interval: int, batch_size: int = BATCH) -> Reference:
    """What a support says. Label maps are read first, then the images, one by one.

    Args:
        network: In eval mode.
        support: Every structure must be in every scan of it.
        slice_interval: Fewest slices of 3 mm of a part of a structure; 0: structures are taken as a whole.
        batch_size: Patches at once.

    Raises:
        InputError: A scan cannot be used, or lacks a structure that another one has; names both.
        GeometryError: Labels lie on another grid than their image.
    """
    labels: list[Labels] = []
    grids: list[Grid] = []
    known: list[Label] = []
    for number, scan in enumerate(support.scans):
        labelmap = scan.labelmap()
        found = complete_labels(labelmap, present_only=True)
        if number == 0:
            known = found
        _check_structures(found, known, scan=scan, first=support.scans[0])
        labels.append(working_labels(labelmap))
        grids.append(labelmap.grid)
        _check_kept(labels[-1], known, scan=scan)
    names = {label.value: label.name for label in known}
    structures = describe(
        network,
        _images(support, grids),
        labels,
        names=names,
        slice_interval=slice_interval,
        batch_size=batch_size,
    )
    return Reference(structures=structures, labels=known)


def _images(support: Support, grids: list[Grid]) -> Iterator[Image]:
    """The images as the network sees them, each of them on the grid of its labels."""
    with progress.bar("reading support scans", total=len(support.scans)) as advance:
        for scan, grid in zip(support.scans, grids, strict=True):
            volume = scan.volume()
            if not volume.grid.same(grid):
                raise GeometryError(
                    f"The labels ({_size(grid)} voxels) of the support scan {scan.name} are not on its grid "
                    f"({_size(volume.grid)} voxels): shape or position differ."
                )
            yield working_copy(volume).image
            advance(1)


def _check_structures(found: list[Label], known: list[Label], *, scan: Scan, first: Scan) -> None:
    """Raise `InputError` where a scan and the first one differ in their structures."""
    if not found:
        raise InputError(f"The labels of the support scan {scan.name} are empty: no structure is marked in them.")
    ours, theirs = ({label.value: label.name for label in labels} for labels in (found, known))
    for value in sorted(ours.keys() ^ theirs.keys()):
        here, there = (scan, first) if value in ours else (first, scan)
        raise InputError(
            f"'{(ours | theirs)[value]}' (label {value}) is in the support scan {here.name} but not in {there.name}: "
            "every structure must be in every support scan."
        )


def _check_kept(labels: Labels, known: list[Label], *, scan: Scan) -> None:
    """Raise `InputError` where a structure is too small for 3 mm."""
    there = np.unique(labels)
    lost = [label for label in known if label.value not in there]
    if lost:
        raise InputError(
            f"'{lost[0].name}' (label {lost[0].value}) of the support scan {scan.name} is too small to be seen "
            "at 3 mm: leave it out of all label maps."
        )


def _size(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape))

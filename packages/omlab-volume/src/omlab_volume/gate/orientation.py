"""Whether an image lies as its header says: held against what training cases look like, or against a body in CT.

A header that is intact while the voxels are flipped cannot be told from the header. The template is the mean thumbnail
of training cases; an image that agrees better with it flipped or turned than as it is has its axes wrong, where the
training cases tell that way apart from the right one (left out one by one). Without a template, of CT of a trunk:
spine and table lie behind, the abdomen below the lungs. Left and right are not told then.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omlab_volume.gate.look import Array, Look

SIZE = 10
"""Voxels of a thumbnail along each axis."""
FEWEST = 4
"""Training cases that a template is made of at least."""
AXES = ("head-feet", "front-back", "left-right")  # z, y, x
TRUNK_MM = 240.0
"""A body is wider than this at the trunk, a head is not."""
_BONE, _LUNG = 250.0, -600.0
_BACK_MM, _ABDOMEN_MM = 12.0, 60.0


class Turn(NamedTuple):
    """Axes in another order, then flipped."""

    order: tuple[int, ...]
    flips: tuple[int, ...]

    @property
    def name(self) -> str:
        """As sentences have it: `flipped left-right`."""
        if self.order != (0, 1, 2):
            return "with its axes in another order"
        return f"flipped {' and '.join(AXES[axis] for axis in self.flips)}"

    def of(self, thumbnail: Array) -> Array:
        """A thumbnail turned so."""
        return np.flip(thumbnail.transpose(self.order), self.flips)


TURNS = [
    Turn(order, flips)
    for order in itertools.permutations(range(3))
    for count in range(4)
    for flips in itertools.combinations(range(3), count)
    if (order, flips) != ((0, 1, 2), ())
]


def learn_template(thumbnails: Sequence[Array]) -> dict[str, Any] | None:
    """The template of training cases (JSON); None of fewer than `FEWEST` cases.

    `mean`: of their thumbnails, a byte in hexadecimal a voxel (z, y, x). `untold`: numbers of the turns by which some
    case is not told from the others. `agreement`: the least that a further case is expected to have.
    """
    if len(thumbnails) < FEWEST:
        return None
    stack = np.stack(thumbnails)
    whole = stack.sum(axis=0)
    gains = np.array([_gains(one, (whole - one) / (len(stack) - 1)) for one in stack])  # (cases, turns)
    likely = np.maximum(gains.max(axis=0), gains.mean(axis=0) + 3 * gains.std(axis=0))
    untold = [int(n) for n in np.flatnonzero(likely > 0)]
    mean = np.rint(255 * whole / len(stack)).astype(np.uint8)
    return {"mean": mean.tobytes().hex(), "untold": untold, "agreement": _least_agreement(stack)}


def check_template(look: Look, template: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Doubts about an image's orientation, how well it agrees with a template (a correlation), and what is not told."""
    thumbnail = look.thumbnail(SIZE)
    stored = np.frombuffer(bytes.fromhex(template["mean"]), np.uint8).reshape(SIZE, SIZE, SIZE)
    mean = stored.astype(np.float32) / np.float32(255)
    gains = _gains(thumbnail, mean)
    untold = set(template["untold"])
    told = [n for n in range(len(TURNS)) if n not in untold]
    agrees = _correlation(thumbnail, mean)
    found: dict[str, Any] = {"agreement": round(agrees, 3)}
    single = [TURNS.index(Turn((0, 1, 2), (axis,))) for axis in range(3)]
    found["not_told"] = [TURNS[n].name for n in single if n in untold]
    best = max(told, key=lambda n: gains[n], default=None)
    doubts = []
    if best is not None and gains[best] > 0 and agrees + gains[best] >= template["agreement"]:
        doubts.append(
            f"It looks {TURNS[best].name}: so it agrees better with the training cases ({agrees + gains[best]:.2f} "
            f"instead of {agrees:.2f}), though its header says otherwise."
        )
    elif agrees < template["agreement"]:
        doubts.append(
            f"It looks unlike the training cases (agreement {agrees:.2f}, theirs from {template['agreement']:.2f} up): "
            "another part of the body, another field of view, or damaged."
        )
    return doubts, found


def check_trunk(look: Look) -> tuple[list[str], dict[str, Any]]:
    """Doubts about the orientation of a CT (HU) by what every trunk has; nothing of what is no trunk."""
    z, y, x = (step * every for step, every in zip(look.spacing, look.steps, strict=True))
    body = look.thin > -300
    wide = (body.any(axis=1).sum(axis=1) * x) > TRUNK_MM
    if not wide.any():
        return [], {}
    doubts, found = [], {}
    bone = (look.thin > _BONE) & wide[:, None, None]
    back = _middle(body & wide[:, None, None], axis=1) - _middle(bone, axis=1) if bone.any() else 0.0
    found["bone_behind_mm"] = round(back * y, 1)
    if back * y < -_BACK_MM:
        doubts.append(
            f"Bone lies {-back * y:.0f} mm before the middle of the body, where the spine lies behind it: the image "
            "looks flipped front-back, or the patient lay prone."
        )
    lung = _inside(look.thin < _LUNG, body)
    area = lung.sum(axis=(1, 2)) * y * x
    chest = area > 0.25 * max(area.max(), 4000.0)
    if chest.any():
        first, last = int(np.flatnonzero(chest)[0]), int(np.flatnonzero(chest)[-1])
        below, above = float(wide[:first].sum() * z), float(wide[last + 1 :].sum() * z)
        found["trunk_below_lungs_mm"], found["trunk_above_lungs_mm"] = round(below), round(above)
        if above > _ABDOMEN_MM and above > 2 * below:
            doubts.append(
                f"There are {above:.0f} mm of trunk above the lungs and {below:.0f} mm below them: the image looks "
                "flipped head-feet."
            )
    return doubts, found


def _gains(thumbnail: Array, mean: Array) -> NDArray[np.float64]:
    """By how much a thumbnail agrees better with a mean if it is turned, for every turn."""
    as_it_is = _correlation(thumbnail, mean)
    return np.array([_correlation(turn.of(thumbnail), mean) for turn in TURNS]) - as_it_is


def _least_agreement(stack: NDArray[Any]) -> float:
    """The least agreement that a further case of this kind may be expected to have with the mean of these."""
    whole, count = stack.sum(axis=0), len(stack)
    found = np.array([_correlation(one, (whole - one) / (count - 1)) for one in stack])
    return round(float(max(0.0, min(found.min() - 0.15, found.mean() - 4 * found.std()))), 3)


def _correlation(first: Array, second: Array) -> float:
    a, b = (np.asarray(one, np.float64) - one.mean() for one in (first, second))
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


def _middle(mask: NDArray[np.bool_], *, axis: int) -> float:
    counts = mask.sum(axis=tuple(other for other in range(3) if other != axis))
    return float((counts * np.arange(len(counts))).sum() / max(counts.sum(), 1))


def _inside(dark: NDArray[np.bool_], body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is dark and has body on both sides of it, along x and along y."""
    inside = dark.copy()
    for axis in (1, 2):
        before = np.maximum.accumulate(body, axis=axis)
        after = np.flip(np.maximum.accumulate(np.flip(body, axis), axis=axis), axis)
        inside &= before & after
    return inside

"""Which found box is which reference box, as COCO matches them, for all overlaps and sizes at once.

faster-coco-eval computes the overlaps. Its matches stay inside its compiled part, for one data set with every image
counted once; here they are kept, a few bytes a box, so that figures can be had of patients that count several times.

Source: Lin et al., Microsoft COCO, ECCV 2014, and its evaluation as pycocotools defines it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

OVERLAPS = np.linspace(0.5, 0.95, 10)
"""From which overlap (intersection over union) on a box is found: each counts for itself."""

SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Areas in pixels of the frame, both ends included."""

AT_MOST = 100
"""Found boxes of a class in one frame that count, the surest first."""

_ALMOST = 1 - 1e-10  # what a complete overlap may miss by rounding
_BITS = (1 << np.arange(len(OVERLAPS))).astype(np.uint16)
_LOW, _HIGH = np.array([*SIZES.values()]).T


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Found boxes of one class, the surest of a frame first, and the references that they could have found.

    Attributes:
        scores: How sure each is, (n,).
        hits: Whether each is a hit, (n, sizes): a bit for each of `OVERLAPS`.
        false: Whether each is a false alarm, likewise. Neither: it counts not at all.
        positives: References of each size, (sizes,).
    """

    scores: Floats
    hits: NDArray[np.uint16]
    false: NDArray[np.uint16]
    positives: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: list[Matches]) -> Matches:
        """Of several frames, one after the other."""
        none = np.zeros((0, len(SIZES)), np.uint16)
        return cls(
            scores=np.concatenate([np.zeros(0), *(part.scores for part in parts)]),
            hits=np.concatenate([none, *(part.hits for part in parts)]),
            false=np.concatenate([none, *(part.false for part in parts)]),
            positives=np.sum([np.zeros(len(SIZES), np.int64), *(part.positives for part in parts)], axis=0),
        )


def match(references: Floats, crowd: Flags, found: Floats, scores: Floats) -> Matches:
    """Match the boxes of one class in one frame.

    The surest found box takes the reference that it overlaps most, of those that are left; of equal ones the last. A
    crowd is never used up, and what is found in it, or of another size than is asked for, counts not at all.

    Args:
        references: (G, 4): left, top, width, height.
        crowd: (G,): whether a reference marks several things that cannot be told apart.
        found: (D, 4).
        scores: (D,).
    """
    order = np.argsort(-scores, kind="stable")[:AT_MOST]
    found, scores = found[order], scores[order]
    ignored = crowd | _is_outside(references)  # (sizes, G)
    is_outside = _is_outside(found)  # (sizes, D)
    free = np.ones((len(SIZES), len(OVERLAPS), len(references)), bool)
    hits, false = (np.zeros((len(found), len(SIZES)), np.uint16) for _ in range(2))
    for number, overlap in enumerate(_overlaps(found, references, crowd)):
        taken, is_matched = _taken(overlap, free | crowd, ignored)
        free &= ~taken
        matched_ignored = (taken & ignored[:, None]).any(axis=2)
        counts = ~np.where(is_matched, matched_ignored, is_outside[:, number, None])
        hits[number] = (is_matched & counts) @ _BITS
        false[number] = (~is_matched & counts) @ _BITS
    return Matches(scores=scores, hits=hits, false=false, positives=(~ignored).sum(axis=1))


def _taken(overlap: Floats, free: Flags, ignored: Flags) -> tuple[Flags, Flags]:
    """The reference that a box takes, (sizes, overlaps, G), one at most, and whether there is one, (sizes, overlaps).

    One that is ignored is taken only where no other fits.
    """
    if not overlap.size:
        return free, np.zeros(free.shape[:2], bool)
    fits = free & (overlap >= np.minimum(OVERLAPS, _ALMOST)[:, None])
    counting = fits & ~ignored[:, None]
    fits = np.where(counting.any(axis=2, keepdims=True), counting, fits)
    is_matched: Flags = np.logical_or.reduce(fits, axis=2)
    last_best = overlap.size - 1 - np.where(fits, overlap, -1.0)[..., ::-1].argmax(axis=2)
    return fits & (np.arange(overlap.size) == last_best[..., None]), is_matched


def _is_outside(boxes: Floats) -> Flags:
    """Whether a box is of another size than each of `SIZES`, (sizes, n)."""
    area = boxes[:, 2] * boxes[:, 3]
    outside: Flags = (area < _LOW[:, None]) | (area > _HIGH[:, None])
    return outside


def _overlaps(found: Floats, references: Floats, crowd: Flags) -> Floats:
    """(D, G); of a crowd the share of the found box that lies in it."""
    if not len(found) or not len(references):
        return np.zeros((len(found), len(references)))
    from faster_coco_eval.core import mask  # type: ignore[import-untyped]

    return np.asarray(mask.iou(found.tolist(), references.tolist(), crowd.astype(int).tolist()), np.float64)

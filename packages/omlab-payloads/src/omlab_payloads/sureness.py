"""How sure a segmentation is of each structure: from the scores that its labels are decided by.

At a voxel with blended class probabilities p (K), of which p1 and p2 are the two highest,

    margin  = p1 - p2                              1: sure, 0: a tie
    entropy = -sum over k of p_k log p_k / log K   0: sure, 1: all classes alike

Their means over the voxels of a structure say how sure it is of what, those over its surface (voxels with a neighbour
of another class) how sure it is of where it ends. They are the network's opinion of itself: high margins in an image
unlike the training ones mean nothing. What Dice they stand for is known after calibration
(the adapter `calibrate`); until then nothing is called a confidence.

Where each object is decided by itself against the background, as those that a user points at, K is 2 and p the
probability of the object that has the voxel: margin = 2 p - 1, entropy that of p and 1 - p.

What is held is four sums and two counts a class. Of each part of an image some planes are looked at, and of these the
voxels that are not background, thinned out where they are many; surfaces are seen within a plane. Pictures and the
frames of clips are planes, their pixels voxels.

This module needs torch (extra `torch`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

FEATURES = ("margin", "entropy", "surface_margin", "surface_entropy")
_PLANE_VOXELS = 1 << 15
"""Voxels of a part whose class is looked at, about."""
_VOXELS = 1 << 13
"""Voxels of a part whose scores are looked at, at most."""


class Sureness:
    """Sums of margin and entropy by class, of the parts of one image.

    Args:
        classes: K; output 0 is the background, of which nothing is said.
        softmax: Whether scores are logits.
    """

    def __init__(self, classes: int, *, softmax: bool) -> None:
        self.classes = classes
        self.softmax = softmax
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._sums = torch.zeros((len(FEATURES), self.classes), dtype=torch.float64)
        self._counts = torch.zeros((2, self.classes), dtype=torch.float64)

    def add_scores(self, scores: Tensor, *, weight: Tensor | None = None, labels: Tensor | None = None) -> None:
        """Take in a part of the image, which stays as it is.

        Args:
            scores: (K, d, h, w), probabilities or, with `softmax`, logits.
            weight: (d, h, w), by which they are to be divided.
            labels: (d, h, w) int64, what was decided by them; by default the highest.
        """
        voxels = scores[0].numel()
        if not voxels or self.classes < 2:
            return
        every = max(1, math.ceil(voxels / _PLANE_VOXELS))
        planes = scores[:, ::every]
        flat = planes.flatten(1)  # (K, voxels), contiguous: many times as fast to look through
        # positive weights do not change which is the highest
        labels = flat.max(0).indices if labels is None else labels[::every].flatten()
        places = (labels > 0).nonzero().squeeze(1)
        if not len(places):
            return
        places = places[:: math.ceil(len(places) / _VOXELS)]
        found = flat.index_select(1, places).float()
        if weight is not None:
            found = found / weight[::every].flatten()[places].float()
        found = found.softmax(0) if self.softmax else found / found.sum(0).clamp(min=1e-12)
        on_surface = _surface(labels.view(planes.shape[1:])).flatten()[places]
        labels = labels[places]
        first = found.gather(0, labels[None])[0]
        second = found.scatter(0, labels[None], -1.0).amax(0)
        entropy = -torch.special.xlogy(found, found).sum(0) / math.log(self.classes)
        self._take(labels, first - second, entropy, on_surface=on_surface)

    def add_decided(self, labels: Tensor, probability: Tensor) -> None:
        """Take in a part of an image whose classes were decided each by itself.

        Args:
            labels: (d, h, w), 0 the background.
            probability: (d, h, w), of the class that has a voxel, against the background.
        """
        every = max(1, math.ceil(labels.numel() / _PLANE_VOXELS))
        labels = labels[::every]
        places = labels.flatten().nonzero().squeeze(1)
        if not len(places):
            return
        places = places[:: math.ceil(len(places) / _VOXELS)]
        own = probability[::every].flatten()[places].double()
        other = 1 - own
        entropy = -(torch.special.xlogy(own, own) + torch.special.xlogy(other, other)) / math.log(2)
        on_surface = _surface(labels).flatten()[places]
        self._take(labels.flatten()[places].long(), own - other, entropy, on_surface=on_surface)

    def _take(self, labels: Tensor, margin: Tensor, entropy: Tensor, *, on_surface: Tensor) -> None:
        weight = on_surface.double()
        parts = (margin, entropy, margin * weight, entropy * weight)
        for row, values in zip(self._sums, parts, strict=True):
            row += torch.bincount(labels, values.double(), minlength=self.classes).cpu()
        self._counts[0] += torch.bincount(labels, minlength=self.classes).cpu()
        self._counts[1] += torch.bincount(labels, weight, minlength=self.classes).cpu()

    def take(self, other: Sureness) -> None:
        """Take in all that another one did of the same classes."""
        self._sums += other._sums
        self._counts += other._counts

    def state(self) -> list[list[float]]:
        """The sums and counts, as JSON."""
        return [*self._sums.tolist(), *self._counts.tolist()]

    def restore(self, state: Sequence[Sequence[float]]) -> None:
        """Go on from a `state` of the same classes."""
        values = torch.tensor(state, dtype=torch.float64).view(len(FEATURES) + 2, self.classes)
        self._sums, self._counts = values[: len(FEATURES)].clone(), values[len(FEATURES) :].clone()

    def of(self, label: int) -> dict[str, float] | None:
        """The means of `FEATURES` of a class; None where none of its voxels was looked at.

        A class without a surface voxel (of one plane that it fills) has that of its volume there.
        """
        inside, on_surface = (float(count) for count in self._counts[:, label])
        if not inside:
            return None
        sums = [float(value) for value in self._sums[:, label]]
        volume = [value / inside for value in sums[:2]]
        surface = [value / on_surface for value in sums[2:]] if on_surface else volume
        return {name: round(value, 5) for name, value in zip(FEATURES, [*volume, *surface], strict=True)}

    def facts(self, names: Mapping[int, str], *, counts: Sequence[int], voxel_ml: float | None) -> dict[str, Any]:
        """What a label map tells of the structures that are there: by name their size and the means of `FEATURES`.

        Args:
            names: Of the classes 1, 2, ...
            counts: Voxels of each class in the label map.
            voxel_ml: The volume of one of them; None: they are pixels, and counted.
        """
        structures: dict[str, Mapping[str, float]] = {}
        for label, name in names.items():
            count = counts[label] if label < len(counts) else 0
            found = self.of(label) if count else None
            if found is not None:
                size = {"pixels": int(count)} if voxel_ml is None else {"ml": float(f"{count * voxel_ml:.6g}")}
                structures[name] = {**size, **found}
        return {"structures": structures}


def _surface(labels: Tensor) -> Tensor:
    """Which voxels (d, h, w) have a neighbour of another class in their plane."""
    differs = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
    for axis in (1, 2):
        count = labels.shape[axis] - 1
        steps = labels.narrow(axis, 0, count) != labels.narrow(axis, 1, count)
        differs.narrow(axis, 0, count).logical_or_(steps)
        differs.narrow(axis, 1, count).logical_or_(steps)
    return differs

"""From prompts in a volume to masks on its grid, slice by slice.

Slices with prompts are segmented first, all together. Then each object is carried along to the neighbouring slices: its
mask gives the next slice a box and a mask prompt, until there is no mask or another prompted slice is nearer. A box
that spans several slices is a box on each of them, and the object ends with it.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab import progress
from omlab_prompts.prompts import Object, Prompts
from omlab_sam.carrying import Front, box_around, fronts_of
from omlab_sam.rounds import Asked
from omlab_sammed2d.frames import Frame
from omlab_sammed2d.predictor import Masks, Segmenter, check_pointed, sets_of
from omlab_sammed2d.slices import Axis, Slices, whole
from omlab_volume.labels import labels_from_names
from omlab_volume.volume import LabelMap, Volume

_AHEAD = {"cuda": 8}
"""Slices that are encoded at once in the direction in which an object is carried; on a CPU only those needed."""


@dataclass(kw_only=True)
class _Plan:
    """What is asked of an object on which slices; `outside` are clicks outside it on slices without other prompts."""

    sets: dict[int, list[Asked]] = field(default_factory=dict)
    outside: dict[int, Asked] = field(default_factory=dict)
    spans: bool = False


@dataclass(kw_only=True)
class _Stack:
    """The slices of a volume with those that were encoded."""

    slices: Slices
    embeddings: dict[int, Tensor] = field(default_factory=dict)


class VolumePredictor:
    """Masks of objects in volumes. The slices of the last volume that were encoded are remembered while it lives.

    Args:
        segmenter: The network.
        axis: Across which volumes are cut (`omlab_sammed2d.slices`).
        window: Centre and width of what is shown from black to white; empty: chosen by the volume.
    """

    def __init__(self, segmenter: Segmenter, *, axis: Axis = "auto", window: Sequence[float] = ()) -> None:
        self.segmenter, self.axis, self.window = segmenter, axis, tuple(window)
        self._stacks: MutableMapping[Volume, _Stack] = WeakKeyDictionary()

    def slices(self, volume: Volume) -> Slices:
        """The slices of a volume. Raises `InputError` where it cannot be used."""
        return self._stack(volume).slices

    def predict(self, volume: Volume, prompts: Prompts) -> LabelMap:
        """The objects of `prompts` as labels 1, 2, ... in their order, on the grid of `volume`.

        Raises:
            InputError: The volume has several channels or values that are not finite.
            GeometryError: A prompt lies outside the volume.
            UsageError: An object has neither a box nor a click in it.
        """
        stack = self._stack(volume)
        image = prompts.image or "the volume"
        voxels = prompts.in_voxels(volume.affine.tolist(), shape=volume.grid.shape, image=image)
        frame = self.segmenter.frame(stack.slices.shape[1:])
        plans = [_plan(entry, stack.slices, frame=frame) for entry in voxels.objects]
        masks = Masks(stack.slices.shape, objects=len(plans))
        fronts = self._prompted(stack, plans, masks, frame=frame)
        while fronts:
            fronts = self._carried(stack, plans, fronts, masks, frame=frame)
        names = [entry.name for entry in voxels.objects]
        return LabelMap(
            array=stack.slices.hidden(masks.labels),
            affine=volume.affine,
            labels=labels_from_names(names),
            facts=masks.told(names, voxel_ml=volume.grid.voxel_ml),
        )

    def _stack(self, volume: Volume) -> _Stack:
        if volume not in self._stacks:
            made = _Stack(slices=Slices(volume, axis=self.axis, window=self.window))
            self._stacks.clear()
            self._stacks[volume] = made
        return self._stacks[volume]

    def _encode(self, stack: _Stack, numbers: Sequence[int]) -> None:
        missing = sorted({number for number in numbers if number not in stack.embeddings})
        batch = max(_AHEAD.get(self.segmenter.device.type, 4), 1)
        with progress.bar("slices", total=len(missing)) as advance:
            for first in range(0, len(missing), batch):
                part = missing[first : first + batch]
                images = [stack.slices.pixels(number) for number in part]
                stack.embeddings.update(zip(part, self.segmenter.encode(images), strict=True))
                advance(len(part))

    def _prompted(
        self, stack: _Stack, plans: Sequence[_Plan], masks: Masks, *, frame: Frame
    ) -> list[tuple[Front, Tensor]]:
        """Segment all slices that have prompts; gives where objects are to be carried from there."""
        asked = [
            (number, at, one) for number, plan in enumerate(plans) for at, sets in plan.sets.items() for one in sets
        ]
        self._encode(stack, [at for _, at, _ in asked])
        answered = self.segmenter.answer([stack.embeddings[at] for _, at, _ in asked], [one for _, _, one in asked])
        parts: dict[tuple[int, int], list[int]] = {}
        for index, (number, at, _) in enumerate(asked):
            parts.setdefault((number, at), []).append(index)
        found = {place: answered.logits[indices].amax(dim=0) for place, indices in parts.items()}
        for (number, at), low in found.items():
            iou = answered.ious[parts[number, at]].mean()
            masks.add(frame.back(low[None])[0], iou, label=number + 1, at=at)
        return [
            (front, found[number, front.at])
            for number, plan in enumerate(plans)
            if not plan.spans
            for front in fronts_of(plan.sets, slices=stack.slices.shape[0], object=number)
        ]

    def _carried(
        self,
        stack: _Stack,
        plans: Sequence[_Plan],
        fronts: Sequence[tuple[Front, Tensor]],
        masks: Masks,
        *,
        frame: Frame,
    ) -> list[tuple[Front, Tensor]]:
        """Carry all objects one slice further; gives those that go on."""
        steps: list[tuple[Front, Asked]] = []
        for front, low in fronts:
            box = box_around(self.segmenter.sam.upsample(low[None, None])[0, 0])
            if box is not None:
                after = front.on()
                clicks = plans[front.object].outside.get(after.at, _NOTHING)
                steps.append((after, Asked(points=clicks.points, labels=clicks.labels, box=box.cpu(), mask=low)))
        if not steps:
            return []
        ahead = _AHEAD.get(self.segmenter.device.type, 1)
        self._encode(stack, [at for front, _ in steps for at in _following(front, ahead)])
        answered = self.segmenter.answer([stack.embeddings[front.at] for front, _ in steps], [one for _, one in steps])
        going: list[tuple[Front, Tensor]] = []
        for (front, _), low, iou in zip(steps, *answered, strict=True):
            masks.add(frame.back(low[None])[0], iou, label=front.object + 1, at=front.at)
            if not front.ends:
                going.append((front, low))
        return going


_NOTHING = Asked(points=torch.zeros(0, 2), labels=torch.zeros(0, dtype=torch.long))


def _following(front: Front, count: int) -> range:
    """The slice of a front and those after it, `count` at most, as far as it is to go."""
    stop = front.last + front.direction
    end = front.at + front.direction * count
    return range(front.at, min(end, stop) if front.direction > 0 else max(end, stop), front.direction)


def _plan(entry: Object, slices: Slices, *, frame: Frame) -> _Plan:
    """What is asked of an object, in voxels of the volume, on which slices. Raises `UsageError`."""
    points = slices.places(np.array([point.at for point in entry.points], np.float64).reshape(-1, 3))
    labels = np.array([point.label for point in entry.points], np.int64)
    clicked = whole(points[:, 0], below=slices.shape[0])
    boxes, spans = _boxes(entry, slices)
    plan = _Plan(spans=spans)
    for at in sorted({*boxes, *clicked.tolist()}):
        mine = clicked == at
        corners = np.array(boxes.get(at, []), np.float64).reshape(-1, 4)
        sets = sets_of(corners, points[mine, 1:], labels[mine], frame=frame)
        if sets:
            plan.sets[at] = sets
        else:
            plan.outside[at] = Asked(points=frame.places(points[mine, 1:]), labels=torch.from_numpy(labels[mine]))
    check_pointed(entry.name, list(plan.sets))
    return plan


def _boxes(entry: Object, slices: Slices) -> tuple[dict[int, list[NDArray[np.float64]]], bool]:
    """The boxes (x0, y0, x1, y1) on each slice, and whether one of them spans several."""
    found: dict[int, list[NDArray[np.float64]]] = {}
    spans = False
    for box in entry.boxes:
        corners = slices.places(np.array([box.near, box.far], np.float64))
        near, far = corners.min(axis=0), corners.max(axis=0)
        first, last = whole(np.array([near[0], far[0]]), below=slices.shape[0]).tolist()
        spans |= last > first
        for at in range(first, last + 1):
            found.setdefault(at, []).append(np.concatenate((near[1:], far[1:])))
    return found, spans

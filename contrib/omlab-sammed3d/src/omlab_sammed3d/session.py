"""One object of one image: a box or a first click opens its cubes, each further click is one more round in them.

A first cube has the box's middle, or else the first click, in its middle. Where the mask reaches a face of it and
the image goes on, or a click lies beyond that face, further cubes continue it, moved by a quarter of their side so
that the start stays inside; their logits are blended with Gaussian weights (upstream overwrites slabs, which leaves
straight cuts). Adding clicks one at a time or all at once comes to the same.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab.errors import OmlabWarning
from omlab_sammed3d.network import SamMed3d
from omlab_sammed3d.windows import NOWHERE, Array, Region, Window, z_normalise
from omlab_volume.inference.windows import gaussian_importance

Step = tuple[int, ...]
Embeddings = dict[tuple[float, ...], Tensor]
"""Encoded cubes by where they begin and their voxels' size."""


@dataclass(kw_only=True)
class _Rounds:
    """What a cube has come to: its embedding, the rounds done, the low-resolution logits of the last one."""

    window: Window
    embedding: Tensor
    done: int = 0
    logits: Tensor | None = None


class Session:
    """The rounds of one object.

    Args:
        network: In eval mode.
        source: (I, J, K) float32, the image along its closest RAS+ axes.
        ratio: Size of the working grid's voxels in voxels of the image, for each axis.
        start: (3,) the middle of the first cube, in voxels of the image.
        box: (2, 3) near and far corner, or None. It goes into every round; before any click it is a round alone.
        name: Of the object, for messages.
        embeddings: The cubes of this image that were encoded before; new ones are added.
    """

    def __init__(
        self,
        network: SamMed3d,
        source: Tensor,
        *,
        ratio: Array,
        start: Array,
        box: Array | None = None,
        name: str,
        embeddings: Embeddings | None = None,
    ) -> None:
        self.network, self.source, self.box, self.name = network, source, box, name
        self.embeddings = {} if embeddings is None else embeddings
        side = network.config.image_size
        self.shift = side // 4
        self.middle = Window(first=start - side // 2 * ratio, ratio=ratio, side=side)
        first = self.middle.moved(np.full(3, -self.shift)).first
        self.canvas = Window(first=first, ratio=ratio, side=side + 2 * self.shift)
        self.region: Region = self.canvas.reach(tuple(source.shape))
        self.clicks: list[tuple[Array, int]] = []
        self._rounds: dict[Step, _Rounds] = {}

    def click(self, at: Array, *, label: int) -> None:
        """Add a click (3,), in voxels of the image: 1 in the object, 0 outside it."""
        self.clicks.append((np.asarray(at, np.float64), label))

    def logits(self) -> NDArray[np.float32]:
        """The blended logits at the voxels of `region` after all clicks so far."""
        total, weight = torch.zeros(2, *(self.canvas.side,) * 3)
        importance = gaussian_importance((self.middle.side,) * 3)
        with torch.inference_mode():
            centre = self._window((0, 0, 0))
            for step in product(*self._steps(centre > 0)):
                logits = centre if step == (0, 0, 0) else self._window(step)
                part = tuple(slice(self.shift * (1 + s), self.shift * (1 + s) + self.middle.side) for s in step)
                total[part] += logits * importance
                weight[part] += importance
            blended = torch.where(weight > 0, total / weight.clamp(min=1e-12), NOWHERE)
            return self.canvas.back(blended, self.region)

    def warn_of_what_is_out_of_reach(self) -> None:
        """Warn where clicks or the box lie beyond all cubes."""
        reach = self.canvas.side / 2 * self.middle.ratio
        centre = self.canvas.first + (self.canvas.side - 1) / 2 * self.middle.ratio
        places = self._places(self.canvas)
        lost = int((~self.canvas.holds(places)).sum()) if self.clicks else 0
        if lost:
            warnings.warn(
                f"{lost} of {len(self.clicks)} clicks of '{self.name}' are too far from where it starts and were not "
                "used: give what lies there as an object of its own.",
                OmlabWarning,
                stacklevel=2,
            )
        if self.box is not None and bool((np.abs(self.box - centre) > reach).any()):
            warnings.warn(
                f"The box of '{self.name}' is larger than what the model sees: what lies beyond "
                f"{self.canvas.side} voxels of its grid is background.",
                OmlabWarning,
                stacklevel=2,
            )

    def _places(self, window: Window) -> NDArray[np.int64]:
        return window.nearest(np.array([at for at, _ in self.clicks]).reshape(-1, 3))

    def _steps(self, mask: Tensor) -> list[list[int]]:
        """For each axis the steps to be taken: 0, and -1 or 1 where the mask or a click asks for it."""
        clicked = self._places(self.middle)
        clicked = clicked[self.canvas.holds(clicked + self.shift)]
        steps = []
        for axis, size in enumerate(self.source.shape):
            places, found = self.middle.places(axis), [0]
            if places[0] > 0 and (bool(mask.select(axis, 0).any()) or (clicked[:, axis] < 0).any()):
                found.append(-1)
            beyond = (clicked[:, axis] >= self.middle.side).any()
            if places[-1] < size - 1 and (bool(mask.select(axis, -1).any()) or beyond):
                found.append(1)
            steps.append(found)
        return steps

    def _window(self, step: Step) -> Tensor:
        """Logits (S, S, S) of one cube, on the CPU, after the rounds that it still lacks."""
        rounds = self._opened(step)
        places = self._places(rounds.window)
        inside = rounds.window.holds(places)
        device = rounds.embedding.device
        points = torch.from_numpy(places[inside])[None].to(device)
        labels = torch.tensor([label for (_, label), used in zip(self.clicks, inside, strict=True) if used])[None]
        labels = labels.to(device)
        boxes = self._box_in(rounds.window)
        alone = 0 if boxes is None else 1  # a box is a round without a click
        for number in range(rounds.done, points.shape[1] + alone):
            count = number + 1 - alone
            rounds.logits, _ = self.network.decode(
                rounds.embedding,
                points=points[:, :count] if count else None,
                labels=labels[:, :count] if count else None,
                boxes=None if boxes is None else boxes.to(device),
                previous=rounds.logits,
            )
            rounds.done = number + 1
        assert rounds.logits is not None  # the first click, or the box, lies in every window
        return self.network.upsample(rounds.logits)[0, 0].float().cpu()

    def _opened(self, step: Step) -> _Rounds:
        if step not in self._rounds:
            window = self.middle.moved(self.shift * np.array(step))
            self._rounds[step] = _Rounds(window=window, embedding=self._encoded(window))
        return self._rounds[step]

    def _encoded(self, window: Window) -> Tensor:
        key = (*window.first.tolist(), *window.ratio.tolist())
        if key not in self.embeddings:
            device = next(self.network.parameters()).device
            image = z_normalise(window.image(self.source))
            self.embeddings[key] = self.network.image_encoder(image[None, None].to(device))
        return self.embeddings[key]

    def _box_in(self, window: Window) -> Tensor | None:
        """(1, 6): the part of the box that lies in a cube; its middle does in every one."""
        if self.box is None:
            return None
        corners = window.nearest(self.box).clip(0, window.side - 1)
        return torch.from_numpy(corners).reshape(1, 6).float()

"""The ten views of a clip that pre-training compares: which frames each has, and what part of them.

DINO's method (Caron et al. 2021) on views that differ in place and in time (Ranasinghe et al., SVT, CVPR 2022); its
networks, centre and schedules are `omlab_train.teacher` and `omlab_train.distillation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omlab_endofm.pictures import PRESETS, as_tensor, brightness, contrast, cut, grey, saturation, short_side
from omlab_video.clip import Clip
from omlab_video.sampling import Indices, spread

GLOBAL_FRAMES = (8, 16)
LOCAL_FRAMES = (2, 2, 4, 4, 8, 8, 16, 16)
_MARGIN = 5  # frames that a global view leaves out at the end, and the other one at the start

_STORED = 256 / 224  # the shorter side of what views are cut from, in sides of a global view
_RATIOS = (3 / 4, 4 / 3)
_TRIES = 10
_OFTEN = {"mirrored": 0.5, "coloured": 0.8, "grey": 0.2}
_STRENGTHS = ((brightness, 0.4), (contrast, 0.4), (saturation, 0.2))


def global_frames(frames: int) -> list[Indices]:
    """The frames of the two global views of a clip."""
    first, second = GLOBAL_FRAMES
    return [
        spread(0, frames - _MARGIN, count=first, frames=frames),
        spread(_MARGIN, frames, count=second, frames=frames),
    ]


def local_width(frames: int) -> int:
    """How far apart the first and the last frame of a local view are."""
    return frames // 8


def last_start(frames: int) -> int:
    """The last frame at which a local view may start."""
    return max(0, frames - local_width(frames) - 1)


def local_frames(start: int, *, count: int, frames: int) -> Indices:
    """The frames of a local view."""
    return spread(start, start + local_width(frames), count=count, frames=frames)


@dataclass(frozen=True, kw_only=True)
class ClipViews:
    """(clip, seed) -> ten views (3, T, S, S) by name, in the order in which networks are given them.

    All frames of a view are cut, mirrored and coloured alike.

    Attributes:
        size: Pixels of a side of a global view.
        local_size: Of a local one.
        seconds: That views are taken from; of a longer clip a part is drawn.
        least_part: The smallest share of the area that a global view is cut from, and the largest of a local one.
        least_local_part: The smallest of a local one.
    """

    size: int = 224
    local_size: int = 96
    seconds: float = 256 / 30
    least_part: float = 0.4
    least_local_part: float = 0.05

    def __call__(self, clip: Clip, seed: int) -> dict[str, Tensor]:
        """The views, a function of clip and seed."""
        draws = np.random.default_rng(seed % 2**64)  # seeds may be below 0
        first, frames = self._part(clip, draws)
        starts = draws.integers(last_start(frames) + 1, size=len(LOCAL_FRAMES))
        chosen = {f"global-{number}": indices for number, indices in enumerate(global_frames(frames))}
        for number, (start, count) in enumerate(zip(starts, LOCAL_FRAMES, strict=True)):
            chosen[f"local-{number}"] = local_frames(int(start), count=count, frames=frames)
        there = np.unique(np.concatenate(list(chosen.values())))
        frames_there = self._read(clip, first + there)
        views = {}
        for name, indices in chosen.items():
            is_global = name.startswith("global")
            size, parts = (self.size, (self.least_part, 1.0)) if is_global else (self.local_size, self._local_parts)
            views[name] = _view(frames_there[np.searchsorted(there, indices)], size=size, parts=parts, draws=draws)
        return views

    @property
    def _local_parts(self) -> tuple[float, float]:
        return self.least_local_part, self.least_part

    def _part(self, clip: Clip, draws: np.random.Generator) -> tuple[int, int]:
        """Where the part of a clip begins and how many frames it has."""
        frames = min(len(clip), max(1, round(self.seconds * clip.rate)))
        return int(draws.integers(len(clip) - frames + 1)), frames

    def _read(self, clip: Clip, indices: Indices) -> Tensor:
        """Frames (n, 3, H, W) from 0 to 255, made smaller one by one as they are read."""
        stored = round(_STORED * self.size)
        read = []
        for frame in clip.stream(indices.tolist()):
            pixels = as_tensor(frame[None])
            read.append(short_side(pixels, stored) if min(frame.shape[:2]) > stored else pixels)
        return torch.cat(read, dim=1).transpose(0, 1)


def _view(frames: Tensor, *, size: int, parts: tuple[float, float], draws: np.random.Generator) -> Tensor:
    """Frames (T, 3, H, W) from 0 to 255 -> (3, T, size, size) as the network is given them."""
    top, left, rows, columns = drawn_part(frames.shape[2], frames.shape[3], parts=parts, draws=draws)
    view = cut(frames, top=top, left=left, rows=rows, columns=columns, size=size)
    if draws.random() < _OFTEN["mirrored"]:
        view = view.flip(3)
    if draws.random() < _OFTEN["coloured"]:
        for number in draws.permutation(len(_STRENGTHS)):
            change, strength = _STRENGTHS[number]
            view = change(view, draws.uniform(1 - strength, 1 + strength))
    if draws.random() < _OFTEN["grey"]:
        view = grey(view)
    return PRESETS["pretraining"](view.transpose(0, 1))


def drawn_part(
    rows: int, columns: int, *, parts: tuple[float, float], draws: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, rows and columns of a part of so large a share of the area, of sides in a ratio of 3/4 to 4/3.

    The first of ten draws that fits, else the middle. (Upstream takes the last of ten, and where that one does not fit,
    its size at an older place.)
    """
    for _ in range(_TRIES):
        area = rows * columns * draws.uniform(*parts)
        ratio = np.exp(draws.uniform(*np.log(_RATIOS)))
        height, width = round(np.sqrt(area / ratio)), round(np.sqrt(area * ratio))
        if 0 < height <= rows and 0 < width <= columns:
            return int(draws.integers(rows - height + 1)), int(draws.integers(columns - width + 1)), height, width
    side = min(rows, columns)
    return (rows - side) // 2, (columns - side) // 2, side, side

"""What the classifier sees of a clip: some of its frames, a square of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from omlab_endofm.pictures import PRESETS, as_tensor, short_side, square
from omlab_video.clip import Clip
from omlab_video.sampling import Indices, clip_range, spread


@dataclass(frozen=True, kw_only=True)
class Seen:
    """clip -> (N, 3, T, S, S), N parts of it.

    Attributes:
        size: Side of the square, the clip's shorter one.
        frames: Of a part; of one alone, its middle.
        seconds: That a part lasts; what a shorter clip lacks is its last frame.
        clips: Parts, at equal distances over the clip.
        place: Of the square: 0 left or top (as Endo-FM was evaluated), 1 the middle.
        preset: How intensities become numbers.
    """

    size: int
    frames: int
    seconds: float
    clips: int = 1
    place: int = 1
    preset: str = "classification"

    def __call__(self, clip: Clip) -> Tensor:
        """The parts of a clip."""
        indices = [self.indices(clip, number) for number in range(self.clips)]
        pixels = clip.read([int(index) for part in indices for index in part])
        parts = []
        for number in range(self.clips):
            part = as_tensor(pixels[number * self.frames : (number + 1) * self.frames])
            parts.append(PRESETS[self.preset](square(short_side(part, self.size), self.size, place=self.place)))
        return torch.stack(parts)

    def indices(self, clip: Clip, number: int) -> Indices:
        """The frames of a part."""
        start, end = clip_range(frames=len(clip), length=self.seconds * clip.rate, number=number, clips=self.clips)
        if self.frames == 1:
            start = end = (max(0.0, start) + min(end, len(clip) - 1)) / 2
        return spread(start, end, count=self.frames, frames=len(clip))

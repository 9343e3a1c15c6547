"""Endo-FM's segmentation as a model of omlab: a clip in, a label map of each of its frames out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import omlab
from omlab.card_schema import ModelCard
from omlab.payloads import Inputs
from omlab.weights import Weights
from omlab_endofm.backbone import BackboneConfig
from omlab_endofm.pictures import PRESETS, as_tensor
from omlab_endofm.segmentation import Segmenter, SegmenterConfig, untrained_segmenter
from omlab_endofm.weights import plain_state
from omlab_video.ahead import ahead
from omlab_video.clip import Clip
from omlab_video.over_time import LabelMapClip

TINY = SegmenterConfig(
    blocks=BackboneConfig(size=32, width=24, depth=1, heads=2),
    layers=(1, 1, 1),
    root=8,
    decoder=(16, 8, 8, 4),
    bridge=16,
    groups=4,
)
NAMES = {1: "polyp"}


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> SegmentModel:
    """The entry of the cards. Raises `WeightsError` where the file holds another network."""
    network = untrained_segmenter(TINY if card.name.endswith("-tiny") else SegmenterConfig())
    if weights is not None:
        weights.load(network, state=plain_state(weights.state_dict()))
    return SegmentModel(network.to(device), frames=settings["frames"])


class SegmentModel:
    """The verb `predict`. A long clip is done in parts of `frames` frames, which the network sees together."""

    def __init__(self, module: Segmenter, *, frames: int) -> None:
        self.module, self.frames = module, frames

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMapClip]:
        """The classes of each pixel, on the frames' own pixels."""
        for inputs in batch:
            clip = omlab.take(inputs, "clip", Clip)
            frames, parts = ahead(clip.stream()), []
            while part := list(islice(frames, self.frames)):
                parts.append(self._classes(np.stack(part)))
            yield LabelMapClip(array=np.concatenate(parts), names=NAMES)

    @torch.inference_mode()
    def _classes(self, pixels: Any) -> Any:
        size = self.module.config.blocks.size
        frames = PRESETS["segmentation"](as_tensor(pixels)).transpose(0, 1)
        resized = functional.interpolate(frames, size=(size, size), mode="bilinear")
        device = next(self.module.parameters()).device
        logits: Tensor = self.module(resized.to(device))
        return functional.interpolate(logits, size=frames.shape[2:], mode="bilinear").argmax(1).byte().cpu().numpy()

"""Endo-FM's segmentation as a model of omlab: a clip in, a label map of each of its frames out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

import omlab
from omlab.card_schema import ModelCard
from omlab.errors import WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_endofm.backbone import BackboneConfig
from omlab_endofm.classes import class_names
from omlab_endofm.pictures import PRESETS, as_tensor
from omlab_endofm.segmentation import Segmenter, SegmenterConfig, untrained_segmenter
from omlab_endofm.weights import plain_state
from omlab_payloads.sureness import Sureness
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
    """The entry of the cards. Raises `WeightsError` where the file or the configuration is of another network."""
    how, names = TINY if card.name.endswith("-tiny") else SegmenterConfig(), NAMES
    if config is not None:
        how, names = _from_config(config)
    network = untrained_segmenter(how)
    if weights is not None:
        weights.load(network, state=plain_state(weights.state_dict()))
    return SegmentModel(network.to(device), names=names, frames=settings["frames"])


class SegmentModel:
    """The verb `predict` and the recipe `segmentation` (`omlab.roles.Trainable`).

    A long clip is done in parts of `frames` frames, which the network sees together.

    Args:
        module: The network.
        names: Of the outputs from 1 on, by the label value that each stands for.
        frames: Of a part.
    """

    def __init__(self, module: Segmenter, *, names: Mapping[int, str], frames: int) -> None:
        self.module, self.names, self.frames = module.eval(), dict(names), frames

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMapClip]:
        """The classes of each pixel, on the frames' own pixels, and how sure they are over all frames."""
        self.module.eval()
        values = np.array([0, *self.names], np.uint8)
        for inputs in batch:
            clip = omlab.take(inputs, "clip", Clip)
            sureness = Sureness(len(values), softmax=True)
            frames, parts = ahead(clip.stream()), []
            while part := list(islice(frames, self.frames)):
                parts.append(self._classes(np.stack(part), sureness))
            found = np.concatenate(parts)
            counts = np.bincount(found.ravel(), minlength=len(values)).tolist()
            facts = sureness.facts(dict(enumerate(self.names.values(), start=1)), counts=counts, voxel_ml=None)
            yield LabelMapClip(array=values[found], names=self.names, facts=facts)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: the ResNet and the tokens, each block, the decoder."""
        names = [name for name, _ in self.module.named_parameters()]
        encoder = "transformer.encoder.layer."
        parts = [
            ("transformer.embeddings.", "transformer.encoder.cls_token"),
            *((f"{encoder}{number}.",) for number in range(self.module.config.blocks.depth)),
            ("transformer.encoder.encoder_norm.", "decoder.", "segmentation_head."),
        ]
        return [[name for name in names if name.startswith(prefixes)] for prefixes in parts]

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> SegmentModel:
        """A copy with outputs for the classes that `about` tells of; where those are its own, with its own head."""
        names = class_names(about.classes, otherwise=self.names)
        network = untrained_segmenter(replace(self.module.config, classes=len(names) + 1), seed=seed)
        state = self.module.state_dict()
        if names != self.names:
            state |= {key: value for key, value in network.state_dict().items() if key.startswith("segmentation_head.")}
        network.load_state_dict(state)
        device = next(self.module.parameters()).device
        return SegmentModel(network.to(device), names=names, frames=self.frames)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Fine-tuning on clips with masks (`omlab_endofm.segment_training`)."""
        from omlab_endofm.segment_training import ClipSegmentation, MaskedFrames

        framed = MaskedFrames(size=self.module.config.blocks.size, frames=self.frames, values=tuple(self.names))
        return ClipSegmentation(module=self.module, data=data, framed=framed, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: architecture and classes."""
        return {"network": asdict(self.module.config), "names": {str(key): name for key, name in self.names.items()}}

    @torch.inference_mode()
    def _classes(self, pixels: NDArray[np.uint8], sureness: Sureness) -> NDArray[np.uint8]:
        """Of frames (T, H, W, 3) the outputs that have each pixel (T, H, W), whose scores `sureness` takes in."""
        size = self.module.config.blocks.size
        frames = PRESETS["segmentation"](as_tensor(pixels)).transpose(0, 1)
        resized = functional.interpolate(frames, size=(size, size), mode="bilinear")
        device = next(self.module.parameters()).device
        logits: Tensor = self.module(resized.to(device))
        scores = functional.interpolate(logits, size=frames.shape[2:], mode="bilinear")
        best = scores.argmax(1)
        for frame, found in zip(scores, best, strict=True):  # one by one: of several, some would not be looked at
            sureness.add_scores(frame[:, None], labels=found[None])
        return best.byte().cpu().numpy()


def _from_config(config: Mapping[str, Any]) -> tuple[SegmenterConfig, dict[int, str]]:
    try:
        network = config["network"]
        how = SegmenterConfig(**{**network, "blocks": BackboneConfig(**network["blocks"])})
        return how, {int(value): str(name) for value, name in config["names"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted Endo-FM segmentation ({type(error).__name__}: {error})."
        ) from error

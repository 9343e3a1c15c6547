"""Endo-FM's detection as a model of omlab: a clip in, the boxes of each of its frames out.

A frame is looked at with ten others from a second around it. Upstream draws them; here they stand at equal distances,
so that results can be repeated. Each frame goes through the backbone once, and alone (T = 1).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import omlab
from omlab.card_schema import ModelCard
from omlab.errors import WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_endofm.backbone import BackboneConfig
from omlab_endofm.boxes import found
from omlab_endofm.classes import class_names
from omlab_endofm.detection import OF_CLASSES, Detector, DetectorConfig, untrained_detector
from omlab_endofm.pictures import PRESETS, as_tensor
from omlab_endofm.weights import plain_state
from omlab_payloads.boxes import Box, Boxes
from omlab_video.ahead import ahead
from omlab_video.clip import Clip, Frame
from omlab_video.over_time import BoxesClip
from omlab_video.sampling import Indices, around

TINY = DetectorConfig(
    backbone=BackboneConfig(size=32, width=24, depth=1, heads=2),
    channels=16,
    convolutions=1,
    deformable_groups=2,
    groups=4,
)
NAMES: tuple[str, ...] = ("adenomatous", "hyperplastic")
_REACH, _SUPPORT = 9, 5  # frames to each side: how far, and how many of them
_MULTIPLE = 32


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How frames are made as large as the network expects: the shorter side, unless the longer becomes too long."""

    short: int
    longest: int

    def __call__(self, frame: Frame) -> tuple[Tensor, float]:
        """A frame (1, 3, 1, H, W), padded at the right and the bottom, and the factor it was enlarged by."""
        rows, columns = frame.shape[:2]
        factor = min(self.short / min(rows, columns), self.longest / max(rows, columns))
        size = (max(1, round(rows * factor)), max(1, round(columns * factor)))
        resized = functional.interpolate(as_tensor(frame[None]).transpose(0, 1), size=size, mode="bilinear")
        pixels = PRESETS["detection"](resized.transpose(0, 1))
        padding = [-side % _MULTIPLE for side in size]
        return functional.pad(pixels, (0, padding[1], 0, padding[0]))[None], factor


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> DetectModel:
    """The entry of the cards. Raises `WeightsError` where the file or the configuration is of another network."""
    how, names = TINY if card.name.endswith("-tiny") else DetectorConfig(), NAMES
    if config is not None:
        how, names = _from_config(config)
    network = untrained_detector(how)
    if weights is not None:
        weights.load(network, state=plain_state(weights.state_dict()))
    fit = Fit(short=settings["short_side"], longest=settings["long_side"])
    return DetectModel(network.to(device), names=names, fit=fit, least_score=settings["least_score"])


class DetectModel:
    """The verb `predict` and the recipe `detection` (`omlab.roles.Trainable`).

    Args:
        module: The network.
        names: Of its classes.
        fit: How frames are made as large as the network expects.
        least_score: Boxes of a lower one are left out.
    """

    def __init__(self, module: Detector, *, names: Sequence[str], fit: Fit, least_score: float) -> None:
        self.module, self.names, self.fit, self.least_score = module.eval(), tuple(names), fit, least_score

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[BoxesClip]:
        """The boxes of each frame, in its own pixels."""
        self.module.eval()
        for inputs in batch:
            yield BoxesClip(frames=list(self._frames(omlab.take(inputs, "clip", Clip))))

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: tokens, places, times and patches; each block; pyramid and head."""
        names = [name for name, _ in self.module.named_parameters()]
        body = "backbone.body."
        first = tuple(f"{body}{part}" for part in ("cls_token", "pos_embed", "time_embed", "patch_embed."))
        depth = self.module.config.backbone.depth
        parts = [first, *((f"{body}blocks.{number}.",) for number in range(depth))]
        layers = [[name for name in names if name.startswith(prefixes)] for prefixes in parts]
        placed = {name for layer in layers for name in layer}
        return [*layers, [name for name in names if name not in placed]]

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> DetectModel:
        """A copy that tells the classes of the settings, else of `about`; where those are its own, with its own head.

        Boxes have their classes by name alone: where nobody tells them, they are those of before.
        """
        asked = [name.strip() for name in settings["classes"].split(",") if name.strip()]
        told = class_names(about.classes, otherwise=dict(enumerate(self.names, 1)))
        names = tuple(asked or told.values())
        network = untrained_detector(replace(self.module.config, classes=len(names)), seed=seed)
        state = self.module.state_dict()
        if names != self.names:
            own = network.state_dict()
            state |= {key: own[key] for key in own if key.startswith(tuple(f"rpn.head.{name}." for name in OF_CLASSES))}
        network.load_state_dict(state)
        device = next(self.module.parameters()).device
        return DetectModel(network.to(device), names=names, fit=self.fit, least_score=self.least_score)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Fine-tuning on clips with boxes (`omlab_endofm.detect_training`)."""
        from omlab_endofm.detect_training import BoxedFrames, ClipDetection

        framed = BoxedFrames(fit=self.fit, names=self.names)
        return ClipDetection(module=self.module, data=data, framed=framed, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: architecture and classes."""
        return {"network": asdict(self.module.config), "names": list(self.names)}

    @torch.inference_mode()
    def _frames(self, clip: Clip) -> Iterator[Boxes]:
        device = next(self.module.parameters()).device
        kept: OrderedDict[int, list[Tensor]] = OrderedDict()  # the pyramids around the frame that is looked at
        incoming, factor = ahead(clip.stream()), 1.0
        for centre in range(len(clip)):
            for index in range(len(kept) and next(reversed(kept)) + 1, min(len(clip), centre + _REACH + 1)):
                pixels, factor = self.fit(next(incoming))
                kept[index] = self.module.pyramid(pixels.to(device))
            for index in [index for index in kept if index < centre - _REACH]:
                del kept[index]
            shown = [centre, *others(centre, frames=len(clip)).tolist()]
            pyramid = [torch.cat(level) for level in zip(*(kept[index] for index in shown), strict=True)]
            yield self._boxes(pyramid, factor=factor, size=clip.shape[1:])

    def _boxes(self, pyramid: Sequence[Tensor], *, factor: float, size: tuple[int, int]) -> Boxes:
        levels = self.module.rpn["head"](pyramid)
        corners, scores, classes = (part.cpu() for part in found(levels, size=_sides(size, factor)))
        rows = zip((corners / factor).tolist(), scores.tolist(), classes.tolist(), strict=True)
        return Boxes(
            space="pixel",
            boxes=[
                Box(near=(x0 - 0.5, y0 - 0.5), far=(x1 - 0.5, y1 - 0.5), label=self.names[kind], score=score)
                for (x0, y0, x1, y1), score, kind in rows
                if score >= self.least_score
            ],
        )


def _sides(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def others(centre: int, *, frames: int) -> Indices:
    """Ten frames at equal distances around one, fewer where the video ends; never the frame itself."""
    near = around(centre, reach=_REACH, frames=frames)
    step = _REACH // _SUPPORT + 1  # 1, 3, 5, 7 and 9 away
    chosen: Indices = near[(abs(near - centre) % step) == 1]
    return chosen


def _from_config(config: Mapping[str, Any]) -> tuple[DetectorConfig, tuple[str, ...]]:
    try:
        network = config["network"]
        how = DetectorConfig(**{**network, "backbone": BackboneConfig(**network["backbone"])})
        return how, tuple(config["names"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted Endo-FM detector ({type(error).__name__}: {error})."
        ) from error

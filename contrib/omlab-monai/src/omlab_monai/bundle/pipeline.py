"""What a bundle does to an image: its transforms before the network, its way of applying it, its transforms after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from omlab.errors import WeightsError
from omlab_monai.bundle.allowed import made, parts_of
from omlab_monai.bundle.config import Component, Config, Painting

PREDICTION = "pred"
_READ_AND_WRITTEN = frozenset({"LoadImaged", "EnsureChannelFirstd", "SaveImaged", "ToDeviced", "ToTensord"})
"""What omlab does itself: images come read, channels first, as tensors, and results are written by it."""

Data = dict[str, Any]


@dataclass(frozen=True)
class Pipeline:
    """The steps of a bundle.

    Attributes:
        key: What its configuration calls the image.
        before: Image to what the network sees.
        infer: (1, C, ...) and a network to its outputs.
        after: Outputs, beside the image, to labels.
        painting: How channels become labels, where the configuration says it.
    """

    key: str
    before: Callable[[Data], Data]
    infer: Callable[..., Any]
    after: Callable[[Data], Data]
    painting: Painting | None

    def __call__(self, image: Any, network: nn.Module, *, device: str) -> Any:
        """What the bundle makes of an image (C, X, Y, Z), a MONAI `MetaTensor`: channels of labels."""
        data = self.before({self.key: image})
        with torch.inference_mode():
            scores = self.infer(data[self.key][None].to(device), network)
        if isinstance(scores, list | tuple):  # full resolution first, as deep supervision gives it
            scores = scores[0]
        return self.after({**data, PREDICTION: scores[0].cpu()})[PREDICTION]


def pipeline_of(config: Config) -> Pipeline:
    """The steps that a configuration names. Raises `WeightsError` where one is not among what omlab builds."""
    from monai.transforms.compose import Compose

    where = f"{config.path}: 'preprocessing'"
    parts = parts_of(config.value("preprocessing"), where=where) if "preprocessing" in config else []
    key = _key(parts, where=where)
    before = Compose([made(part, "transform", where=where) for part in parts if _is_wanted(part)])
    where = f"{config.path}: 'inferer'"
    infer: Any = made(config.value("inferer"), "inferer", where=where) if "inferer" in config else _whole
    where = f"{config.path}: 'postprocessing'"
    parts = parts_of(config.value("postprocessing"), where=where) if "postprocessing" in config else []
    steps, painting = [], None
    for part in parts:
        if isinstance(part, Component) and _name(part) == "Lambdad":
            painting = _painting(part, is_last=not any(map(_is_wanted, parts[parts.index(part) + 1 :])), where=where)
        elif _is_wanted(part) and (_name(part) != "Invertd" or _moves(before)):
            more = {"transform": before, "orig_keys": key} if _name(part) == "Invertd" else {}
            steps.append(made(part, "transform", where=where, **more))
    return Pipeline(key, before, infer, Compose(steps), painting)


def _name(part: Any) -> str:
    return part.name if isinstance(part, Component) else ""


def _is_wanted(part: Any) -> bool:
    return _name(part) not in _READ_AND_WRITTEN


def _moves(before: Any) -> bool:
    """Whether some transform can be taken back: MONAI warns where `Invertd` finds none."""
    from monai.transforms.inverse import InvertibleTransform

    return any(isinstance(transform, InvertibleTransform) for transform in before.transforms)


def _key(parts: Sequence[Any], *, where: str) -> str:
    """The one key of all transforms; "image" where there is no transform."""
    found: set[str] = set()
    for part in parts:
        keys: Any = part.arguments.get("keys", []) if isinstance(part, Component) else []
        found |= {keys} if isinstance(keys, str) else set(keys)
    if len(found) > 1:
        raise WeightsError(f"{where} prepares {', '.join(sorted(found))}: omlab runs bundles of one image.")
    return found.pop() if found else "image"


def _painting(part: Component, *, is_last: bool, where: str) -> Painting:
    function = part.arguments.get("func")
    if not isinstance(function, Painting) or not is_last:
        raise WeightsError(f"{where} ends in a function of its own, which omlab does not run.")
    return function


def _whole(image: Any, network: nn.Module) -> Any:
    return network(image)


def names_of(metadata: Mapping[str, Any]) -> dict[int, str]:
    """Channel numbers with the names that a bundle's metadata gives them."""
    outputs = metadata.get("network_data_format", {}).get("outputs", {})
    described: Mapping[str, Any] = outputs.get(PREDICTION) or next(iter(outputs.values()), {})
    return {int(channel): str(name) for channel, name in described.get("channel_def", {}).items()}


def channels_in(metadata: Mapping[str, Any]) -> int | None:
    """Channels of the image that a bundle takes; None where its metadata does not say."""
    inputs = metadata.get("network_data_format", {}).get("inputs", {})
    described: Mapping[str, Any] = inputs.get("image") or next(iter(inputs.values()), {})
    count = described.get("num_channels")
    return int(count) if isinstance(count, int) else None

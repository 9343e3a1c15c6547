"""A pre-trained network made ready for a recipe: with a head for classes, or with a decoder."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from omlab.errors import TrainingError, WeightsWarning
from omlab.roles import About
from omlab_image.answers import Task
from omlab_retfound.mae import DecoderConfig, MaskedAutoencoder, untrained_autoencoder
from omlab_retfound.vit import RetFound, VitConfig, untrained

Network = RetFound | MaskedAutoencoder

_HEAD = "head."


def retargeted(
    before: Network, *, recipe: str, about: About, settings: Mapping[str, Any], seed: int
) -> tuple[Network, Task]:
    """A copy of `before` for a recipe, and what it tells. Raises `TrainingError` where the data do not fit it."""
    if recipe == "mae":
        return with_decoder(before, ratio=settings["ratio"], normalise=settings["normalise_patches"], seed=seed), Task()
    task = Task.of(about, multi_label=settings["multi_label"])
    return with_head(before, classes=len(task.classes), drop_path=settings["drop_path"], seed=seed), task


def with_head(before: Network, *, classes: int, drop_path: float, seed: int) -> RetFound:
    """The encoder of `before` with a new head, nearly 0; its mean is normed once. A decoder is left behind."""
    config = replace(before.config, classes=classes, drop_path=drop_path, head_norm="single")
    network = untrained(config, seed=seed)
    taken = {key: value for key, value in before.state_dict().items() if not key.startswith(_HEAD)}
    _take(network, taken)
    return network


def with_decoder(before: Network, *, ratio: float, normalise: bool, seed: int) -> MaskedAutoencoder:
    """A copy of `before` that removes and paints patches so; a decoder that it lacks is drawn anew, with a warning."""
    if isinstance(before, MaskedAutoencoder):
        network = copy.deepcopy(before)
    elif before.config.classes:
        raise TrainingError(
            "This network was fine-tuned to tell classes, which masked autoencoding would make it forget: pre-train "
            "the one that it was made from."
        )
    else:
        network = untrained_autoencoder(
            replace(before.config, drop_path=0.0), decoder=_decoder(before.config), seed=seed
        )
        _take(network, before.state_dict())
        warnings.warn("These weights have no decoder: it starts anew.", WeightsWarning, stacklevel=2)
    network.ratio, network.normalise = ratio, normalise
    return network


def _decoder(config: VitConfig) -> DecoderConfig:
    """Half as wide as the encoder, and a third as deep, as RETFound's."""
    width = config.width // 2
    return DecoderConfig(width=width, depth=max(1, config.depth // 3), heads=max(1, width // 32))


def _take(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Copy what both have in the same shape."""
    own = network.state_dict()
    network.load_state_dict(
        {key: state[key] for key in own if key in state and state[key].shape == own[key].shape}, strict=False
    )

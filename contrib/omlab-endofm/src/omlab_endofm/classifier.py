"""Endo-FM with a linear layer that tells the classes of a clip; without classes it gives features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omlab_endofm.backbone import Backbone, BackboneConfig, initialise


class Classifier(nn.Module):
    """A backbone and, where there are classes, a linear layer on its features."""

    def __init__(self, config: BackboneConfig, *, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.backbone = Backbone(config)
        self.linear = nn.Linear(config.width, classes) if classes else nn.Identity()

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> logits (B, K), or features (B, D)."""
        found: Tensor = self.linear(self.backbone(clips))
        return found


def untrained_classifier(config: BackboneConfig, *, classes: int = 0, seed: int = 0) -> Classifier:
    """A network in evaluation mode with upstream's initial values, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(config, classes=classes)
        initialise(network.backbone, list(network.backbone.blocks))
        if isinstance(network.linear, nn.Linear):
            nn.init.normal_(network.linear.weight, std=0.01)
            nn.init.zeros_(network.linear.bias)
    return network.eval()

"""What both published networks are made of, under the names that their checkpoints have."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PatchEmbed(nn.Module):
    """Patches of an image, padded at the right and the bottom to whole ones.

    Args:
        channels: Of the image.
        width: Features of a patch.
        patch: Side of a patch in pixels.
        bias: Of the projection.
        norm: Normalise each patch.
    """

    def __init__(self, channels: int, *, width: int, patch: int, bias: bool = True, norm: bool = False) -> None:
        super().__init__()
        self.patch = patch
        self.projection = nn.Conv2d(channels, width, kernel_size=patch, stride=patch, bias=bias)
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) to (B, h, w, D)."""
        height, width = image.shape[2:]
        image = functional.pad(image, (0, -width % self.patch, 0, -height % self.patch))
        patches: Tensor = self.norm(self.projection(image).permute(0, 2, 3, 1))
        return patches


class Scale(nn.Module):
    """A factor for each feature (layer scale)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return tokens * self.weight


class FeedForward(nn.Module):
    """Two layers with a GELU between them.

    Args:
        width: Features that go in and come out.
        hidden: Features between.
        scaled: Whether the result is scaled by feature.
    """

    def __init__(self, width: int, *, hidden: int, scaled: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(width, hidden), nn.GELU()), nn.Linear(hidden, width))
        self.gamma2 = Scale(width) if scaled else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        result: Tensor = self.gamma2(self.layers(tokens))
        return result


class Head(nn.Module):
    """Features (B, D) to logits (B, K)."""

    def __init__(self, width: int, *, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, features: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.fc(features)
        return logits


class Classifier(nn.Module):
    """A backbone with a head, or without one, which gives features then.

    Args:
        backbone: Images (B, 3, H, W) to features (B, D), with its `width`.
        classes: Of the head; None: no head.
    """

    def __init__(self, backbone: nn.Module, *, width: int, classes: int | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = width
        self.head = nn.Identity() if classes is None else Head(width, classes=classes)

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W) to logits (B, K), or features (B, D)."""
        result: Tensor = self.head(self.backbone(image))
        return result

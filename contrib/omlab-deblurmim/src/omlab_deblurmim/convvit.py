"""ConvViT: two stages of convolutions, then transformer blocks; the encoder of ConvMAE and of what is made of it.

Gao et al., "ConvMAE: Masked convolution meets masked autoencoders", NeurIPS 2022, as deblurring MIM uses it. Keys are
the published ones. Shapes in the comments are those of the base size at 224 px. Within a stage activations are laid
out channels-last, so that the layer norms over channels and the 1 x 1 convolutions copy nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from omlab_deblurmim.vit import pooled
from omlab_image.patches import sincos_table

Triple = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """The hyper-parameters of the three stages; left out, the published base size.

    Attributes:
        image_size: Side of the (square) image in pixels.
        patches: By how much each stage reduces.
        widths: Channels of each stage.
        depths: Blocks of each stage.
        heads: Of each attention of the third stage.
        mlp_ratios: Width of each stage's hidden layers over its own.
        eps: Of the third stage's layer norms and of those behind it.
        conv_eps: Of the layer norms over channels.
        drop_path: Stochastic depth of the last block, which the others approach linearly.
    """

    image_size: int = 224
    patches: Triple = (4, 2, 2)
    widths: Triple = (256, 384, 768)
    depths: Triple = (2, 2, 11)
    heads: int = 12
    mlp_ratios: tuple[float, float, float] = (4.0, 4.0, 4.0)
    eps: float = 1e-6
    conv_eps: float = 1e-5
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        if self.image_size % self.stride or self.image_size < self.stride:
            raise ValueError(f"An image of {self.image_size} px is no whole number of patches of {self.stride} px.")
        if self.widths[2] % self.heads:
            raise ValueError(f"A width of {self.widths[2]} cannot be shared by {self.heads} heads.")
        if min(*self.widths, *self.depths, *self.patches) < 1:
            raise ValueError(f"Every size of {self} must be at least 1.")

    @property
    def stride(self) -> int:
        """Pixels of the image along a side of a token."""
        return prod(self.patches)

    @property
    def grid(self) -> int:
        """Tokens along a side."""
        return self.image_size // self.stride

    @property
    def drop_paths(self) -> tuple[list[float], list[float], list[float]]:
        """Of each block of each stage."""
        first, second, third = self.depths
        last = max(first + second + third - 1, 1)
        rates = [self.drop_path * number / last for number in range(last + 1)]
        return rates[:first], rates[first : first + second], rates[first + second :]


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape; channels-last stays so."""
        normed = functional.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return normed.permute(0, 3, 1, 2)


class ConvEmbed(nn.Module):
    """A convolution whose stride is its size, layer norm over channels, GELU."""

    def __init__(self, channels: int, width: int, *, patch: int, eps: float) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        self.norm = ChannelNorm(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H / patch, W / patch)."""
        return functional.gelu(self.norm(self.proj(x)))


class ConvMlp(nn.Module):
    """Two 1 x 1 convolutions with GELU between them."""

    def __init__(self, width: int, *, ratio: float) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, int(width * ratio), kernel_size=1)
        self.fc2 = nn.Conv2d(int(width * ratio), width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), the same shape."""
        return pointwise(functional.gelu(pointwise(x, self.fc1)), self.fc2)


class ConvBlock(nn.Module):
    """Norm, 1 x 1, depthwise 5 x 5 that does not see removed places, 1 x 1, added; norm, two 1 x 1, added."""

    def __init__(self, width: int, *, ratio: float, eps: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(width, eps=eps)
        self.conv1 = nn.Conv2d(width, width, kernel_size=1)
        self.attn = nn.Conv2d(width, width, kernel_size=5, padding=2, groups=width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=1)
        self.norm2 = ChannelNorm(width, eps=eps)
        self.mlp = ConvMlp(width, ratio=ratio)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """(B, C, H, W), the same shape; `seen` (B, 1, H, W) is 0 at removed places.

        Only the input of the depthwise convolution is masked: what is added there is its bias, and the skip stays.
        """
        y = pointwise(self.norm1(x), self.conv1)
        if seen is not None:
            y = y * seen
        x = x + self.drop_path(pointwise(self.attn(y), self.conv2))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


def pointwise(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """A 1 x 1 convolution of (B, C, H, W) as one product of matrices over channels-last places."""
    return functional.linear(x.permute(0, 2, 3, 1), layer.weight.flatten(1), layer.bias).permute(0, 3, 1, 2)


class ConvStages(nn.Module):
    """The three stages: convolutional blocks, tokens with their positions, and blocks for these.

    Args:
        config: The hyper-parameters.
        positions_learn: Whether `pos_embed` is trained (it is not in pre-training).
        block: Makes the n-th block of the third stage; left out, timm's.
    """

    def __init__(
        self, config: ConvConfig, *, positions_learn: bool, block: Callable[[int], nn.Module] | None = None
    ) -> None:
        super().__init__()
        self.config = config
        before = (3, *config.widths)
        for number, patch in enumerate(config.patches):
            embed = ConvEmbed(before[number], config.widths[number], patch=patch, eps=config.conv_eps)
            self.add_module(f"patch_embed{number + 1}", embed)
        self.patch_embed4 = nn.Linear(config.widths[2], config.widths[2])
        table = sincos_table(config.widths[2], grid=config.grid, prefix=0).float()[None]
        self.pos_embed = nn.Parameter(table, requires_grad=positions_learn)
        self.blocks1, self.blocks2 = (
            nn.ModuleList(
                ConvBlock(config.widths[n], ratio=config.mlp_ratios[n], eps=config.conv_eps, drop_path=rate)
                for rate in config.drop_paths[n]
            )
            for n in range(2)
        )
        make = self._plain_block if block is None else block
        self.blocks3 = nn.ModuleList(make(number) for number in range(config.depths[2]))

    def _plain_block(self, number: int) -> nn.Module:
        config = self.config
        norm: Any = partial(nn.LayerNorm, eps=config.eps)
        return Block(
            config.widths[2],
            config.heads,
            mlp_ratio=config.mlp_ratios[2],
            qkv_bias=True,
            drop_path=config.drop_paths[2][number],
            norm_layer=norm,
        )

    def stages(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """What the first two stages give, and the tokens that go into the third.

        Args:
            image: (B, 3, S, S).
            mask: (B, L), 1 at removed tokens; each stands for the square of places that it is made of.

        Returns:
            (B, 256, 56, 56), (B, 384, 28, 28), and tokens with their positions (B, 196, 768).
        """
        config = self.config
        seen = None if mask is None else (1 - mask).view(-1, 1, config.grid, config.grid).to(image)
        x = image
        found = []
        for number, blocks in enumerate((self.blocks1, self.blocks2)):
            x = self.get_submodule(f"patch_embed{number + 1}")(x).contiguous(memory_format=torch.channels_last)
            times = prod(config.patches[number + 1 :])
            here = None if seen is None else seen.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
            for block in blocks:
                x = block(x, here)
            found.append(x)
        tokens = self.get_submodule("patch_embed3")(x).flatten(2).transpose(1, 2)
        return found[0], found[1], self.patch_embed4(tokens) + self.pos_embed

    def features(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, width): the normed mean of the third stage's tokens (`omlab_deblurmim.vit.pooled`)."""
        return pooled(self.through_blocks3(self.stages(image)[2]), eps=self.config.eps)

    def through_blocks3(self, tokens: Tensor) -> Tensor:
        """(B, K, width) of any of the tokens: the third stage."""
        for block in self.blocks3:
            tokens = block(tokens)
        return tokens


class ConvVit(ConvStages):
    """The classifier: the mean of the tokens, normed, with a linear layer on top where there are classes.

    Unlike in pre-training what the first two stages give is not added to the tokens at the end, as published.
    """

    def __init__(self, config: ConvConfig, *, classes: int = 0) -> None:
        super().__init__(config, positions_learn=True)
        self.fc_norm = nn.LayerNorm(config.widths[2], eps=config.eps)
        self.head: nn.Module = nn.Linear(config.widths[2], classes) if classes else nn.Identity()
        if classes:
            nn.init.trunc_normal_(self.get_parameter("head.weight"), std=2e-5)
            nn.init.zeros_(self.get_parameter("head.bias"))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> logits (B, classes)."""
        logits: Tensor = self.head(self.features(image))
        return logits

    def features(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, width)."""
        normed: Tensor = self.fc_norm(self.through_blocks3(self.stages(image)[2]).mean(dim=1))
        return normed

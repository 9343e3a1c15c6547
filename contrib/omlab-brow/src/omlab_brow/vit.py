"""BROW's vision transformer, as timm's class: keys, shapes and the resizing of positions are the published ones.

Tokens are [class, patches row by row], positions are added to all of them, and the final norm is that of all tokens;
what stands for an image is its normed class token (Dosovitskiy et al. 2021; Caron et al., DINO, 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-6
SPREAD = 0.02
"""Standard deviation of the initial values of linear layers, the class token and positions."""
_GUARD = 0.1  # added to the number of patches of a side before the ratio is taken, and so part of it


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """The hyper-parameters of a network; left out, those of the published ViT-B/16.

    Attributes:
        size: Side of the images, in pixels, that the table of positions is for; images may have other sizes.
        patch: Side of a patch in pixels.
        width: Numbers in a token.
        depth: Blocks.
        heads: Of the attention.
        mlp_ratio: Width of the MLP's hidden layer, in widths.
        classes: Outputs of the head; 0: there is none.
        drop_path: Stochastic depth of the last block while training; it rises from 0 at the first.
    """

    size: int = 224
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4
    classes: int = 0
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        if self.size % self.patch:
            raise ValueError(f"images of {self.size} pixels are not whole patches of {self.patch}")
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} is not divided by {self.heads} heads")


class Brow(VisionTransformer):
    """An encoder, with a classifier on it where its configuration has classes.

    `forward_features` gives tokens (B, 1 + L, D), `features` what stands for an image (B, D), and the network itself
    logits (B, K), or the features where it has no head.
    """

    cls_token: Any  # of timm's class some are optional, and none has the type of what it holds
    pos_embed: Any
    blocks: Any

    def __init__(self, config: VitConfig) -> None:
        super().__init__(
            img_size=config.size,
            patch_size=config.patch,
            embed_dim=config.width,
            depth=config.depth,
            num_heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            num_classes=config.classes,
            drop_path_rate=config.drop_path,
            norm_layer=partial(nn.LayerNorm, eps=EPS),
            dynamic_img_size=True,
        )
        self.config = config

    def embedded(self, images: Tensor) -> Tensor:
        """The tokens with their positions, (B, 3, H, W) -> (B, 1 + L, D): what blocks are given."""
        return self._pos_embed(self.patch_embed(images))

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D): the normed class token."""
        features: Tensor = self.forward_head(self.forward_features(images), pre_logits=True)
        return features

    def last_attention(self, images: Tensor) -> Tensor:
        """The attention of the last block, (B, heads, 1 + L, 1 + L); rows sum to 1."""
        tokens = self.embedded(images)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        last: Any = self.blocks[-1]
        tokens = last.norm1(tokens)
        B, N, _ = tokens.shape
        q, k, _ = last.attn.qkv(tokens).view(B, N, 3, last.attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        attention: Tensor = (q @ k.mT * last.attn.scale).softmax(dim=-1)
        return attention

    def last_tokens(self, images: Tensor, *, blocks: int) -> list[Tensor]:
        """What each of the last blocks gives, normed: tokens (B, 1 + L, D)."""
        tokens, found = self.embedded(images), []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number >= len(self.blocks) - blocks:
                found.append(self.norm(tokens))
        return found

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Class token and positions for patches (B, h, w, D), where timm would resize the table in another way."""
        B, h, w, D = x.shape
        tokens = torch.cat([self.cls_token.expand(B, -1, -1), x.reshape(B, h * w, D)], dim=1)
        with_positions: Tensor = self.pos_drop(tokens + resized_positions(self.pos_embed, grid=(h, w)))
        return with_positions


def resized_positions(table: Tensor, *, grid: tuple[int, int]) -> Tensor:
    """A table of positions (1, 1 + n^2, D) for a grid of patches, (1, 1 + h w, D); of n x n patches it is the same.

    Bicubic by the factors (h + 0.1) / n and (w + 0.1) / n, as upstream: the 0.1 was to keep the size from being rounded
    down, but it moves the places that are sampled too, so that resizing to h x w gives other numbers.
    """
    side = math.isqrt(table.shape[1] - 1)
    if grid == (side, side):
        return table
    plane = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factors = [(count + _GUARD) / side for count in grid]
    resized = functional.interpolate(plane, scale_factor=factors, mode="bicubic")
    return torch.cat([table[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def untrained(config: VitConfig, *, seed: int = 0) -> Brow:
    """A network in evaluation mode with upstream's initial values, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Brow(config)
        for tensor in (network.cls_token, network.pos_embed):
            nn.init.trunc_normal_(tensor, std=SPREAD)
        if isinstance(network.head, nn.Linear):
            nn.init.trunc_normal_(network.head.weight, std=SPREAD)
            nn.init.zeros_(network.head.bias)
    return network.eval()


def allocate(config: VitConfig) -> Brow:
    """A network on the CPU in evaluation mode whose values are still to be filled in."""
    with torch.device("meta"):
        network = Brow(config)
    return network.to_empty(device="cpu").eval()

"""The Vision Transformer of MedFMC's baselines, with prompts (`omlab_adapters.prompts`), as its checkpoints have it.

Source: Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021; prompts as in openmedlab/MedFM, branches main and
master.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab.errors import SettingsError
from omlab_adapters.prompts import Rows, with_prompts, without_prompts
from omlab_medfmc.parts import FeedForward, PatchEmbed, Scale

OUTPUTS = ("cls_token", "avg_featmap", "avg_all", "avg_prompt", "avg_prompt_clstoken", "avg_three")
PREFIX = 1
"""Tokens in front of the prompts: the class token."""


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """Sizes and forms.

    Attributes:
        image_size: Side of the images, in pixels, that the position embedding is made for; others resize it.
        patch: Side of a patch in pixels.
        width: Features of a token.
        depth: Layers.
        heads: Of attention.
        hidden: Features inside of a feed-forward layer.
        channels: Of the image.
        eps: Of all norms.
        pre_norm: A norm in front of the layers, and no bias in the patch embedding (CLIP).
        scaled: Layer scale (DINOv2).
        final_norm: A norm behind the layers.
        output: Which tokens are the features; all but `cls_token` are normalised again.
    """

    image_size: int = 224
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    channels: int = 3
    eps: float = 1e-6
    pre_norm: bool = False
    scaled: bool = False
    final_norm: bool = True
    output: str = "cls_token"

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise SettingsError(f"{self.heads} heads do not divide {self.width} features.")
        if self.output not in OUTPUTS:
            raise SettingsError(f"The output '{self.output}' is none of {', '.join(OUTPUTS)}.")


class Attention(nn.Module):
    """Self-attention."""

    def __init__(self, width: int, *, heads: int, scaled: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.gamma1 = Scale(width) if scaled else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        queries, keys, values = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(queries, keys, values)  # (B, heads, N, d)
        result: Tensor = self.gamma1(self.proj(found.transpose(1, 2).flatten(2)))
        return result


class Layer(nn.Module):
    """Attention and a feed-forward layer, each behind a norm and beside a shortcut."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(config.width, eps=config.eps)
        self.attn = Attention(config.width, heads=config.heads, scaled=config.scaled)
        self.ln2 = nn.LayerNorm(config.width, eps=config.eps)
        self.ffn = FeedForward(config.width, hidden=config.hidden, scaled=config.scaled)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        tokens = tokens + self.attn(self.ln1(tokens))
        result: Tensor = tokens + self.ffn(self.ln2(tokens))
        return result


class Vit(nn.Module):
    """A Vision Transformer that takes prompts (`omlab_adapters.prompts.TakesPrompts`)."""

    prompt: Tensor | None

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        side = config.image_size // config.patch
        self.grid = (side, side)
        self.cls_token = nn.Parameter(torch.zeros(1, PREFIX, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, PREFIX + side * side, config.width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.patch_embed = PatchEmbed(config.channels, width=config.width, patch=config.patch, bias=not config.pre_norm)
        self.pre_norm = self._norm() if config.pre_norm else nn.Identity()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.ln1 = self._norm() if config.final_norm else nn.Identity()
        self.ln2 = nn.Identity() if config.output == "cls_token" else self._norm()
        self.register_parameter("prompt", None)
        self.rows: Rows = [None] * config.depth

    @property
    def prompt_blocks(self) -> int:
        """Layers that can have prompts of their own."""
        return self.config.depth

    @property
    def prompt_width(self) -> int:
        """Features of a token."""
        return self.config.width

    def take_prompts(self, prompt: Tensor, *, rows: Sequence[int | None], compat: bool = False) -> None:
        """Put prompts (rows, length, width) in front of layers; `compat` is in `rows` already."""
        self.prompt = nn.Parameter(prompt.to(self.cls_token))
        self.rows = list(rows)

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, C, H, W) to features (B, D)."""
        patches = self.patch_embed(image)
        grid = (patches.shape[1], patches.shape[2])
        tokens = torch.cat([self.cls_token.expand(len(image), -1, -1), patches.flatten(1, 2)], dim=1)
        tokens = self.pre_norm(tokens + resized_positions(self.pos_embed, self.grid, grid=grid))
        length = 0
        for layer, row in zip(self.layers, self.rows, strict=True):
            if row is not None and self.prompt is not None:
                tokens = without_prompts(tokens, start=PREFIX, length=length)
                tokens = with_prompts(tokens, self.prompt[row], start=PREFIX)
                length = self.prompt.shape[1]
            tokens = layer(tokens)
        features: Tensor = self.ln2(pooled(self.ln1(tokens), output=self.config.output, length=length))
        return features

    def _norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(self.config.width, eps=self.config.eps)


def pooled(tokens: Tensor, *, output: str, length: int) -> Tensor:
    """Features (B, D) of tokens (B, 1 + length + patches, D): class token, prompts, patches.

    Raises:
        SettingsError: The output is made of prompts, and there are none.
    """
    if "prompt" in output and not length:
        raise SettingsError(f"The output '{output}' is made of prompts, which this network has not got.")
    first, prompts, patches = tokens[:, 0], tokens[:, PREFIX : PREFIX + length], tokens[:, PREFIX + length :]
    match output:
        case "cls_token":
            return first
        case "avg_featmap":
            return patches.mean(dim=1)
        case "avg_prompt":
            return prompts.mean(dim=1)
        case "avg_prompt_clstoken":
            return tokens[:, : PREFIX + length].mean(dim=1)
        case "avg_three":
            return first + patches.mean(dim=1) + (prompts.mean(dim=1) if length else 0)
    return tokens.mean(dim=1)


def resized_positions(positions: Tensor, made_for: tuple[int, int], *, grid: tuple[int, int]) -> Tensor:
    """Position embeddings (1, 1 + h w, D) for another grid: bicubic, without antialiasing; the class token's stays."""
    if grid == made_for:
        return positions
    patches = positions[:, PREFIX:].reshape(1, *made_for, -1).permute(0, 3, 1, 2)
    patches = functional.interpolate(patches, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :PREFIX], patches.flatten(2).transpose(1, 2)], dim=1)

"""Prompts in a Swin Transformer: they are carried through its stages beside the patches.

Tokens are (B, P + H W, C): P prompts, then the patches row by row. In attention every window sees the prompts; those
leave as the mean over all windows.

The published code keeps windows by image and prompts by window, so that with several images in a batch each window is
given the prompts of another image: `mixed` does that again, for weights that were trained so.

Source: Wang et al., MedFMC, Scientific Data 10:574 (2023), after Jia et al., Visual Prompt Tuning, ECCV 2022.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from omlab_adapters.prompts import padded_bias

Layer = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Attention of windows: the parts that a network has under one name or another.

    Attributes:
        qkv: Tokens (..., C) to queries, keys and values (..., 3 heads d), in that order.
        proj: The other way, (..., heads d) to (..., C).
        heads: How many.
        bias: Of relative positions, (heads, N, N).
        dropout: Probability of dropping an attention weight now.
    """

    qkv: Layer
    proj: Layer
    heads: int
    bias: Tensor
    dropout: float = 0.0


def partition(patches: Tensor, window: tuple[int, int]) -> Tensor:
    """Windows (B, W, N, C) of N patches each of patches (B, H, W, C), whose grid the window divides."""
    batch, height, width, channels = patches.shape
    rows, columns = window
    cut = patches.reshape(batch, height // rows, rows, width // columns, columns, channels)
    return cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, rows * columns, channels)


def joined(windows: Tensor, window: tuple[int, int], *, grid: tuple[int, int]) -> Tensor:
    """Patches (B, *grid, C) of windows (B, W, N, C)."""
    batch, _, _, channels = windows.shape
    rows, columns = window
    cut = windows.reshape(batch, grid[0] // rows, grid[1] // columns, rows, columns, channels)
    return cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, *grid, channels)


def attended(
    windows: Tensor, prompts: Tensor, attention: Attention, *, mask: Tensor | None, mixed: bool
) -> tuple[Tensor, Tensor]:
    """Attention within each window and its prompts.

    Args:
        windows: (B, W, N, C), normalised.
        prompts: (B, P, C), normalised.
        attention: Its parts.
        mask: What is added where patches of a window are none of each other's neighbours, (W, N, N).
        mixed: Give and take prompts in the published order.

    Returns:
        Windows (B, W, N, C) and prompts (B, P, C).
    """
    batch, count, _, _ = windows.shape
    length = prompts.shape[1]
    tokens = torch.cat([_to_windows(prompts, count, mixed=mixed), windows], dim=2)  # (B, W, P + N, C)
    projected = attention.qkv(tokens)
    queries, keys, values = projected.reshape(*projected.shape[:-1], 3, attention.heads, -1).unbind(-3)
    bias = attention.bias if mask is None else attention.bias + mask[:, None]  # (heads, N, N), or one for each window
    weighted = functional.scaled_dot_product_attention(
        queries.transpose(-3, -2),  # (B, W, heads, P + N, d)
        keys.transpose(-3, -2),
        values.transpose(-3, -2),
        attn_mask=padded_bias(bias, start=0, length=length).to(queries.dtype),
        dropout_p=attention.dropout,
    )
    tokens = attention.proj(weighted.transpose(-3, -2).flatten(-2))
    prompts, windows = tokens[:, :, :length], tokens[:, :, length:]
    if mixed:
        return windows, prompts.reshape(count, batch, *prompts.shape[2:]).mean(dim=0)
    return windows, prompts.mean(dim=1)


def _to_windows(prompts: Tensor, count: int, *, mixed: bool) -> Tensor:
    """The prompts (B, W, P, C) that each of `count` windows of each image is given."""
    batch = prompts.shape[0]
    if mixed:
        return prompts.repeat(count, 1, 1).reshape(batch, count, *prompts.shape[1:])
    return prompts[:, None].expand(-1, count, -1, -1)


def prompted_block(
    tokens: Tensor,
    *,
    length: int,
    grid: tuple[int, int],
    norm1: Layer,
    attend: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    norm2: Layer,
    mlp: Layer,
    drop1: Layer,
    drop2: Layer,
) -> Tensor:
    """A block of a Swin Transformer on tokens (B, P + H W, C).

    `attend` takes patches (B, H, W, C) and prompts (B, P, C), both normalised, and gives as much; `drop1` and `drop2`
    drop the branches of whole images while training.
    """
    normed = norm1(tokens)
    patches, prompts = attend(normed[:, length:].reshape(len(tokens), *grid, -1), normed[:, :length])
    tokens = tokens + drop1(torch.cat([prompts, patches.flatten(1, 2)], dim=1))
    return tokens + drop2(mlp(norm2(tokens)))


def merged_prompts(prompts: Tensor) -> Tensor:
    """Prompts (B, P, 4 C) for the layer that merges four patches into one: four copies, one behind the other."""
    return prompts.repeat(1, 1, 4)

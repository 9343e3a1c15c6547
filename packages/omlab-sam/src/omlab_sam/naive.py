"""The padded form of windowed attention, as published: the specification of `attention.py`.

Padded positions are tokens like any other and the position terms are full score matrices. For tests and golden
numbers; nothing else uses it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from omlab_kernels import resize_relpos_table
from omlab_sam.attention import RelativeAttention


def padded_windows(attention: RelativeAttention, x: Tensor) -> Tensor:
    """What each window gives for x (B, H, W, C), padded queries included: (B * windows, K, K, C), projected."""
    tall, wide = (attention.window,) * 2 if attention.window else x.shape[1:3]
    filled = functional.pad(x, (0, 0, 0, -x.shape[2] % wide, 0, -x.shape[1] % tall))
    windows = torch.unflatten(torch.unflatten(filled, 2, (-1, wide)), 1, (-1, tall)).transpose(2, 3).flatten(0, 2)
    qkv = torch.unflatten(attention.qkv(windows.flatten(1, 2)), -1, (3, attention.heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()  # (n, heads, N, E)
    lines = torch.unflatten(q, 2, (tall, wide))
    down, along = (
        resize_relpos_table(table, side)[torch.arange(side)[:, None] - torch.arange(side) + side - 1]
        for table, side in ((attention.rel_pos_h, tall), (attention.rel_pos_w, wide))
    )
    bias = torch.einsum("nhabe,aie->nhabi", lines, down)[..., None]
    bias = bias + torch.einsum("nhabe,bje->nhabj", lines, along)[..., None, :]
    scores = q.shape[-1] ** -0.5 * q @ k.transpose(-1, -2) + bias.flatten(4, 5).flatten(2, 3)
    done = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
    given: Tensor = attention.proj(done).unflatten(1, (tall, wide))
    return given


def padded_attention(attention: RelativeAttention, x: Tensor) -> Tensor:
    """`attention(x)` in the padded form, (B, H, W, C)."""
    windows = padded_windows(attention, x)
    tall, wide = windows.shape[1:3]
    counts = (len(x), -(-x.shape[1] // tall), -(-x.shape[2] // wide))
    whole = torch.unflatten(windows, 0, counts).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return whole[:, : x.shape[1], : x.shape[2]]

"""The padded form of windowed attention, as upstream computes it: the specification of `attention.py`.

Padded positions are tokens like any other and the position terms are full score matrices, so a window of 14^3
takes 2744 x 2744 scores a head. For tests and benchmarks; nothing else uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_sammed3d.attention import RelativeAttention
from omlab_sammed3d.encoder import Block, ImageEncoder


@dataclass(frozen=True, kw_only=True)
class Padded:
    """What the padded form computes; n windows, K0 x K1 x K2 = N tokens in each.

    Attributes:
        windows: (n, K0, K1, K2, C) the input, padded.
        q: (n * heads, N, E), not scaled.
        k: (n * heads, N, E).
        v: (n * heads, N, E).
        scores: (n * heads, N, N) with the position terms.
        output: (n, K0, K1, K2, C) after the projection, padded queries included.
        cropped: (B, D, H, W, C) the output without what was padded.
    """

    windows: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    scores: Tensor
    output: Tensor
    cropped: Tensor


def padded_attention(attention: RelativeAttention, x: Tensor) -> Padded:
    """`attention(x)` for x (B, D, H, W, C) in the padded form."""
    sides = attention.sides(x.shape[1:4])
    far = [-n % side for n, side in zip(x.shape[1:4], sides, strict=True)]
    filled = functional.pad(x, (0, 0, 0, far[2], 0, far[1], 0, far[0]))
    windows = filled
    for axis in (3, 2, 1):  # the last one first, so that the others keep their places
        windows = torch.unflatten(windows, axis, (-1, sides[axis - 1]))
    windows = windows.permute(0, 1, 3, 5, 2, 4, 6, 7)
    counts = windows.shape[:4]
    windows = windows.flatten(0, 3)
    qkv = torch.unflatten(attention.qkv(windows.flatten(1, 3)), -1, (3, attention.heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind()
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    for term in _position_terms(
        torch.unflatten(q, 1, sides), attention.tables(sides), textbook=attention.rel_pos != "sam-med3d"
    ):
        scores = (scores.unflatten(2, sides).unflatten(1, sides) + term).flatten(4, 6).flatten(1, 3)
    done = scores.softmax(dim=-1) @ v
    done = done.unflatten(0, (-1, attention.heads)).transpose(1, 2).flatten(2)
    output = attention.proj(done).unflatten(1, sides)
    whole = output.unflatten(0, counts).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(filled.shape)
    cropped = whole[:, : x.shape[1], : x.shape[2], : x.shape[3]]
    return Padded(windows=windows, q=q, k=k, v=v, scores=scores, output=output, cropped=cropped)


def _position_terms(q: Tensor, tables: Sequence[Tensor], *, textbook: bool) -> list[Tensor]:
    """Three terms to be broadcast to (n, a, b, c, i, j, l); q is (n, a, b, c, E)."""
    rows = [table[_differences(len(table))] for table in tables]
    if textbook:
        return [
            torch.einsum("nabcx,aix->nabci", q, rows[0])[..., None, None],
            torch.einsum("nabcx,bjx->nabcj", q, rows[1])[..., None, :, None],
            torch.einsum("nabcx,clx->nabcl", q, rows[2])[..., None, None, :],
        ]
    return [
        torch.einsum("nabcx,alx->nabcl", q, rows[0])[..., None, None, :],
        torch.einsum("nabix,blx->nabil", q, rows[1])[:, :, :, None, :, None],
        torch.einsum("nabjx,jlx->nabjl", q, rows[2])[:, :, :, None, None],
    ]


def _differences(rows: int) -> Tensor:
    place = torch.arange((rows + 1) // 2)
    return place[:, None] - place + len(place) - 1


class PaddedAttention(nn.Module):
    """An attention in the padded form, with the weights of another."""

    def __init__(self, attention: RelativeAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, C) -> (B, D, H, W, C)."""
        return padded_attention(self.attention, x).cropped


def pad_attentions(encoder: ImageEncoder) -> None:
    """Put all attentions of the encoder into the padded form."""
    for block in encoder.blocks:
        assert isinstance(block, Block)
        block.attn = PaddedAttention(block.attn)  # type: ignore[assignment]  # of the same signature

"""Attention along each axis of a volume in turn, without a copy between the axes.

Source: Ho et al., "Axial Attention in Multidimensional Transformers", arXiv 1912.12180; the form is that of the
published axon networks (D-LMBmap): one axis after the other, with neither residual nor norm between.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Sizes = tuple[int, int, int]


class SelfAttention(nn.Module):
    """Multi-head attention along one axis of channels-last maps.

    Queries and keys have no bias, the way out has one; keys and values are the two halves of one linear map.
    """

    def __init__(self, channels: int, *, heads: int, head_size: int) -> None:
        super().__init__()
        hidden = heads * head_size
        self.heads = heads
        self.to_q = nn.Linear(channels, hidden, bias=False)
        self.to_kv = nn.Linear(channels, 2 * hidden, bias=False)
        self.to_out = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, *, axis: int) -> Tensor:
        """(B, D, H, W, C) -> the same; `axis` 0, 1 or 2 is D, H or W.

        Nothing is permuted in memory. What lies before the axis is one batch; what lies after it and the heads are one
        axis of heads, since they follow each other in memory: both are views, in and out.
        """
        before, length, after = x.shape[: axis + 1].numel(), x.shape[axis + 1], x.shape[axis + 2 : -1].numel()
        keys, values = self.to_kv.weight.chunk(2)  # two products, since halves of one would have gaps
        query, key, value = (
            functional.linear(x, weight).view(before, length, after * self.heads, -1).transpose(1, 2)
            for weight in (self.to_q.weight, keys, values)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)  # (before, after * heads, length, e)
        out: Tensor = self.to_out(mixed.transpose(1, 2).reshape(*x.shape[:-1], -1))
        return out


class AlongAxis(nn.Module):
    """`fn` along one axis; the keys of the published weights have this level."""

    def __init__(self, fn: SelfAttention, *, axis: int) -> None:
        super().__init__()
        self.fn, self.axis = fn, axis

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, C) -> the same."""
        out: Tensor = self.fn(x, axis=self.axis)
        return out


class AxialAttention(nn.Module):
    """Attention along D, then H, then W."""

    def __init__(self, channels: int, *, heads: int, head_size: int) -> None:
        super().__init__()
        self.axial_attentions = nn.ModuleList(
            AlongAxis(SelfAttention(channels, heads=heads, head_size=head_size), axis=axis) for axis in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> the same, laid out channels-last: no copy at all where the input is."""
        y = x.movedim(1, -1).contiguous()
        for along in self.axial_attentions:
            y = along(y)
        return y.movedim(-1, 1)


class AxialPosition(nn.Module):
    """A learned term for each place along each axis, added to the map; it fixes the size of the map."""

    def __init__(self, channels: int, *, sizes: Sizes) -> None:
        super().__init__()
        depth, height, width = sizes
        self.param_0 = nn.Parameter(torch.randn(1, channels, depth, 1, 1))
        self.param_1 = nn.Parameter(torch.randn(1, channels, 1, height, 1))
        self.param_2 = nn.Parameter(torch.randn(1, channels, 1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> the same."""
        return x + self.param_0 + self.param_1 + self.param_2

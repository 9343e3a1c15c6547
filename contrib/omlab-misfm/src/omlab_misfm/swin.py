"""The transformer half of PCT-Net: two Swin blocks on a volume's tokens, the second with shifted windows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_kernels import LaidOutTable
from omlab_misfm.levels import Triple
from omlab_misfm.shifted_windows.naive import relative_rows, table_rows
from omlab_misfm.shifted_windows.op import shifted_window_attention

TABLE_DEVIATION = 0.02


def window_of(grid: Triple, window: int) -> int:
    """The window on a grid of tokens: `window`, or the grid's smallest side where that is not larger."""
    return min(window, *grid)


def shift_of(grid: Triple, window: int) -> int:
    """By how much odd blocks shift: half a window, or not at all where the smallest side is one window."""
    return 0 if min(grid) <= window else window // 2


class WindowAttention(nn.Module):
    """Attention within windows with a table of relative positions.

    `relative_position_index` is in the published state; what it says is the rule of
    `omlab_misfm.shifted_windows.naive`, and `omlab_misfm.weights` holds a file to that.
    """

    relative_position_index: Tensor

    def __init__(self, width: int, *, window: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"A width of {width} cannot be shared by {heads} heads.")
        self.window, self.heads, self.dropout = window, heads, dropout
        self.relative_position_bias_table = nn.Parameter(torch.zeros(table_rows(window), heads))
        self.register_buffer("relative_position_index", relative_rows(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self._kept = LaidOutTable()

    def forward(self, x: Tensor, *, grid: Triple, shift: int) -> Tensor:
        """(B, N, C), the same shape."""
        x = shifted_window_attention(
            x,
            weight=self.qkv.weight,
            bias=self.qkv.bias,
            table=self.relative_position_bias_table,
            grid=grid,
            window=self.window,
            shift=shift,
            heads=self.heads,
            dropout=self.dropout if self.training else 0.0,
            kept=self._kept,
        )
        return functional.dropout(self.proj(x), self.dropout, self.training)


class Mlp(nn.Module):
    """Two layers with GELU between, four times as wide inside."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C), the same shape."""
        found: Tensor = self.drop(self.fc2(self.drop(functional.gelu(self.fc1(x)))))
        return found


class SwinBlock(nn.Module):
    """x + attention of norm of x, then x + MLP of norm of x; either branch is left out of a sample at random."""

    def __init__(self, width: int, *, window: int, heads: int, shifted: bool, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.shifted, self.drop_path = shifted, drop_path
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, window=window, heads=heads, dropout=dropout)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, dropout=dropout)

    def forward(self, x: Tensor, *, grid: Triple) -> Tensor:
        """(B, N, C) on a grid, the same shape."""
        shift = shift_of(grid, self.attn.window) if self.shifted else 0
        x = x + self._dropped(self.attn(self.norm1(x), grid=grid, shift=shift))
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        """Stochastic depth (Huang et al. 2016): 0 for some samples, larger for the others."""
        if not self.training or not self.drop_path:
            return x
        kept = 1 - self.drop_path
        return x * x.new_empty(len(x), 1, 1).bernoulli_(kept).div_(kept)


class SwinBlocks(nn.Module):
    """`depth` blocks; every second one is shifted."""

    def __init__(self, width: int, *, depth: int, window: int, heads: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(width, window=window, heads=heads, shifted=number % 2 == 1, dropout=dropout, drop_path=drop_path)
            for number in range(depth)
        )

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, D, H, W), the same shape."""
        depth, height, width = volume.shape[2:]
        x = volume.flatten(2).transpose(1, 2).contiguous()
        for block in self.blocks:
            x = block(x, grid=(depth, height, width))
        return x.transpose(1, 2).reshape(volume.shape)

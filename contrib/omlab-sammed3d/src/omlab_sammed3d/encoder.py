"""The image encoder of SAM-Med3D: a 3-D vision transformer with windowed and global attention, and a neck.

Module names are those of the published checkpoints. Tokens are channel-last, (B, D, H, W, C), in the axis
order of the array (x, y, z for a NIfTI file), although upstream calls the axes D, H, W.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omlab_sam.parts import EPS, ChannelNorm, Mlp
from omlab_sammed3d.attention import RelativeAttention, RelPos, Triple


class Block(nn.Module):
    """A pre-norm transformer block; `window` 0 is global attention.

    Its tables of relative positions fit its window, or its grid, unless `table_rows` says how many rows they have.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        window: int,
        grid: Triple,
        rel_pos: RelPos,
        mlp_ratio: float = 4,
        table_rows: Triple | None = None,
    ) -> None:
        super().__init__()
        sides = (window,) * 3 if window else grid
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = RelativeAttention(dim, heads=heads, window=window, sides=sides, rel_pos=rel_pos, rows=table_rows)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, hidden=int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, C) -> (B, D, H, W, C)."""
        x = x + self.attn(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class PatchEmbed(nn.Module):
    """A convolution that turns patches into tokens."""

    def __init__(self, channels: int, dim: int, *, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels, dim, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D, H, W) -> (B, D / patch, H / patch, W / patch, C)."""
        tokens: Tensor = self.proj(x)
        return tokens.movedim(1, -1)


class ImageEncoder(nn.Module):
    """Patches, position, blocks, neck."""

    def __init__(
        self,
        *,
        grid: int,
        patch: int,
        dim: int,
        depth: int,
        heads: int,
        global_blocks: Sequence[int],
        window: int,
        out_channels: int,
        rel_pos: RelPos,
    ) -> None:
        super().__init__()
        self.grid, self.patch = grid, patch
        self.patch_embed = PatchEmbed(1, dim, patch=patch)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, grid, dim))
        self.blocks = nn.ModuleList(
            Block(dim, heads=heads, window=0 if n in global_blocks else window, grid=(grid,) * 3, rel_pos=rel_pos)
            for n in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv3d(dim, out_channels, kernel_size=1, bias=False),
            ChannelNorm(out_channels),
            nn.Conv3d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            ChannelNorm(out_channels),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 1, S, S, S) -> embeddings (B, out_channels, grid, grid, grid), S = grid * patch."""
        side = self.grid * self.patch
        if image.shape[1:] != (1, side, side, side):
            raise ValueError(f"The image must be (B, 1, {side}, {side}, {side}), not {tuple(image.shape)}.")
        x: Tensor = self.patch_embed(image) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        embedding: Tensor = self.neck(x.movedim(-1, 1))
        return embedding

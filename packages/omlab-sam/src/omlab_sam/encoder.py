"""SAM's image encoder: a vision transformer with windowed and global attention, and a neck; adapters where asked for.

Module names are those of the published checkpoints. Tokens are channel-last, (B, H, W, C).
Adapters: Cheng et al., SAM-Med2D, arXiv 2308.16184.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omlab_sam.attention import RelativeAttention
from omlab_sam.parts import EPS, ChannelNorm, Mlp


class Adapter(nn.Module):
    """SAM-Med2D's adapter: a gate over the channels, and a way down to half the grid and up again."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.channel = nn.Sequential(
            nn.Linear(dim, dim // 4, bias=False), nn.ReLU(), nn.Linear(dim // 4, dim, bias=False), nn.Sigmoid()
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(dim, dim, kernel_size=3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(dim, dim, kernel_size=4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C), H and W even."""
        gated = x * self.channel(x.mean(dim=(1, 2)))[:, None, None]
        added: Tensor = self.norm(x + self.spatial(gated.movedim(-1, 1)).movedim(1, -1))
        return added


class Block(nn.Module):
    """A pre-norm transformer block; `window` 0 is global attention over a grid of side `grid`."""

    def __init__(self, dim: int, *, heads: int, window: int, grid: int, adapter: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = RelativeAttention(dim, heads=heads, window=window, side=window or grid)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, hidden=4 * dim)
        if adapter:
            self.Adapter = Adapter(dim)  # as the published key has it
        self.has_adapter = adapter

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.attn(self.norm1(x))
        y = self.norm2(x)
        x = x + self.mlp(y)
        return x + self.Adapter(y) if self.has_adapter else x


class PatchEmbed(nn.Module):
    """A convolution that turns patches into tokens."""

    def __init__(self, dim: int, *, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / patch, W / patch, C)."""
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
        adapters: bool,
    ) -> None:
        super().__init__()
        self.grid, self.patch = grid, patch
        self.patch_embed = PatchEmbed(dim, patch=patch)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, dim))
        self.blocks = nn.ModuleList(
            Block(dim, heads=heads, window=0 if n in global_blocks else window, grid=grid, adapter=adapters)
            for n in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(dim, out_channels, kernel_size=1, bias=False),
            ChannelNorm(out_channels),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            ChannelNorm(out_channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) -> embeddings (B, out_channels, grid, grid), S = grid * patch."""
        side = self.grid * self.patch
        if images.shape[1:] != (3, side, side):
            raise ValueError(f"Images must be (B, 3, {side}, {side}), not {tuple(images.shape)}.")
        x: Tensor = self.patch_embed(images) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        embedding: Tensor = self.neck(x.movedim(-1, 1))
        return embedding

"""The Swin Transformer of MedFMC's baselines, with prompts that go through all stages, as its checkpoints have it.

Four patches are merged with the channels outside (c0k0, c0k1, ...), prompts as four copies one behind the other: the
weights are trained for both. Weights of the official code or timm have another order in `downsample`.

Source: Liu et al., Swin Transformer, ICCV 2021; prompts as in openmedlab/MedFM, branch main
(`omlab_adapters.prompts_swin`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab.errors import InputError, SettingsError
from omlab_adapters import prompts_swin
from omlab_adapters.prompts import with_prompts
from omlab_medfmc.parts import FeedForward, PatchEmbed

MASKED = -100.0
"""What is added to attention between patches that the shift has brought together."""
MLP_RATIO = 4


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """Sizes.

    Attributes:
        patch: Side of a patch in pixels.
        width: Features of a token in the first stage; each further stage doubles them.
        depths: Blocks of the stages.
        heads: Of attention, by stage.
        window: Side of a window in patches.
        channels: Of the image.
        drop_path: Probability, growing from 0 over the blocks, of leaving a branch out while training.
    """

    patch: int = 4
    width: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 12
    channels: int = 3
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.heads):
            raise SettingsError(f"There are {len(self.depths)} stages, but heads for {len(self.heads)}.")


class WindowAttention(nn.Module):
    """The parts of attention in windows of `window` x `window` patches."""

    relative_position_index: Tensor

    def __init__(self, width: int, *, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_positions(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def parts(self) -> prompts_swin.Attention:
        """As `omlab_adapters.prompts_swin` takes them."""
        bias = self.relative_position_bias_table[self.relative_position_index]  # (N, N, heads)
        return prompts_swin.Attention(qkv=self.qkv, proj=self.proj, heads=self.heads, bias=bias.permute(2, 0, 1))


class ShiftedAttention(nn.Module):
    """Attention in windows that may be shifted by half of one."""

    def __init__(self, width: int, *, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.w_msa = WindowAttention(width, heads=heads, window=window)

    def forward(self, patches: Tensor, prompts: Tensor, *, mixed: bool) -> tuple[Tensor, Tensor]:
        """Patches (B, H, W, C) and prompts (B, P, C) to as much. Raises `InputError` for a map below a window."""
        _, height, width, _ = patches.shape
        if min(height, width) < self.window:
            raise InputError(f"A map of {height} x {width} patches is smaller than a window of {self.window}.")
        shift = 0 if min(height, width) == self.window else self.shift
        padded = functional.pad(patches, (0, 0, 0, -width % self.window, 0, -height % self.window))
        grid, window = (padded.shape[1], padded.shape[2]), (self.window, self.window)
        mask = shift_mask(grid, window=self.window, shift=shift).to(patches) if shift else None
        windows = prompts_swin.partition(padded.roll((-shift, -shift), (1, 2)), window)
        windows, prompts = prompts_swin.attended(windows, prompts, self.w_msa.parts(), mask=mask, mixed=mixed)
        padded = prompts_swin.joined(windows, window, grid=grid).roll((shift, shift), (1, 2))
        return padded[:, :height, :width], prompts


class Block(nn.Module):
    """A block on tokens (B, P + H W, C)."""

    def __init__(self, width: int, *, heads: int, window: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = ShiftedAttention(width, heads=heads, window=window, shift=shift)
        self.norm2 = nn.LayerNorm(width)
        self.ffn = FeedForward(width, hidden=MLP_RATIO * width)
        self.drop_path = drop_path

    def forward(self, tokens: Tensor, *, length: int, grid: tuple[int, int], mixed: bool) -> Tensor:
        """Tokens of `length` prompts and a grid of patches."""
        return prompts_swin.prompted_block(
            tokens,
            length=length,
            grid=grid,
            norm1=self.norm1,
            attend=partial(self.attn, mixed=mixed),
            norm2=self.norm2,
            mlp=self.ffn,
            drop1=self._dropped,
            drop2=self._dropped,
        )

    def _dropped(self, branch: Tensor) -> Tensor:
        if not self.training or not self.drop_path:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop_path
        return branch * kept / (1 - self.drop_path)


class Merging(nn.Module):
    """Four neighbouring patches become one of twice the features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, tokens: Tensor, *, length: int, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, P + H W, C) to (B, P + h w, 2 C)."""
        patches = tokens[:, length:].reshape(len(tokens), *grid, -1)
        patches = functional.pad(patches, (0, 0, 0, grid[1] % 2, 0, grid[0] % 2))
        batch, height, width, channels = patches.shape
        fours = patches.reshape(batch, height // 2, 2, width // 2, 2, channels)
        fours = fours.permute(0, 1, 3, 5, 2, 4).reshape(batch, -1, 4 * channels)
        prompts = prompts_swin.merged_prompts(tokens[:, :length])
        result: Tensor = self.reduction(self.norm(torch.cat([prompts, fours], dim=1)))
        return result


class Stage(nn.Module):
    """Blocks on one grid, and the way to the next."""

    def __init__(self, width: int, *, heads: int, window: int, drop_path: Sequence[float], is_last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, heads=heads, window=window, shift=window // 2 * (place % 2), drop_path=rate)
            for place, rate in enumerate(drop_path)
        )
        self.downsample = None if is_last else Merging(width)

    def forward(
        self, tokens: Tensor, *, length: int, grid: tuple[int, int], mixed: bool
    ) -> tuple[Tensor, tuple[int, int]]:
        """Tokens (B, P + H W, C), and those of the next grid, with it."""
        for block in self.blocks:
            tokens = block(tokens, length=length, grid=grid, mixed=mixed)
        if self.downsample is None:
            return tokens, grid
        return self.downsample(tokens, length=length, grid=grid), ((grid[0] + 1) // 2, (grid[1] + 1) // 2)


class Swin(nn.Module):
    """A Swin Transformer that takes prompts (`omlab_adapters.prompts.TakesPrompts`)."""

    prompt: Tensor | None
    prompt_blocks = 1

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
        self.mixed = False
        self.patch_embed = PatchEmbed(config.channels, width=config.width, patch=config.patch, norm=True)
        rates = torch.linspace(0, config.drop_path, sum(config.depths)).tolist()
        last = len(config.depths) - 1
        self.stages = nn.ModuleList(
            Stage(
                config.width * 2**place,
                heads=config.heads[place],
                window=config.window,
                drop_path=rates[sum(config.depths[:place]) : sum(config.depths[: place + 1])],
                is_last=place == last,
            )
            for place in range(last + 1)
        )
        self.norm3 = nn.LayerNorm(config.width * 2**last)
        self.register_parameter("prompt", None)

    @property
    def prompt_width(self) -> int:
        """Features of a token in the first stage."""
        return self.config.width

    def take_prompts(self, prompt: Tensor, *, rows: Sequence[int | None], compat: bool = False) -> None:
        """Put prompts (1, length, width) in front of the first block; `compat`: mixed within a batch, as published."""
        self.prompt = nn.Parameter(prompt.to(self.norm3.weight))
        self.mixed = compat

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, C, H, W) to features (B, D): the mean over prompts and patches."""
        patches = self.patch_embed(image)
        grid, length = (patches.shape[1], patches.shape[2]), 0
        tokens = patches.flatten(1, 2)
        if self.prompt is not None:
            tokens, length = with_prompts(tokens, self.prompt[0], start=0), self.prompt.shape[1]
        for stage in self.stages:
            tokens, grid = stage(tokens, length=length, grid=grid, mixed=self.mixed)
        features: Tensor = self.norm3(tokens).mean(dim=1)
        return features


def relative_positions(window: int) -> Tensor:
    """For each pair of patches of a window, the row of the bias table, (N, N)."""
    place = torch.arange(window)
    rows, columns = torch.meshgrid(place, place, indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    down = rows[:, None] - rows[None, :] + window - 1
    right = columns[:, None] - columns[None, :] + window - 1
    return down * (2 * window - 1) + right


def shift_mask(grid: tuple[int, int], *, window: int, shift: int) -> Tensor:
    """What is added to attention in windows of a shifted map, (W, N, N): no patch sees one from the other side."""
    sides = []
    for size in grid:
        side = torch.zeros(size, dtype=torch.long)
        side[size - window : size - shift] = 1
        side[size - shift :] = 2
        sides.append(side)
    region = 3 * sides[0][:, None] + sides[1][None, :]
    regions = prompts_swin.partition(region[None, :, :, None], (window, window))[0, :, :, 0]  # (W, N)
    return MASKED * (regions[:, :, None] != regions[:, None, :])

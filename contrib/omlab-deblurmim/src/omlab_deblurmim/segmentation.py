"""Nodule segmentation: a U-Net or a U-Net++ on the pre-trained encoders, with relative positions and layer scale.

The encoders' last blocks are BEiT-like where those of pre-training are plain: each has a table of relative positions
and two scales, which start anew. Decoders and keys are those of segmentation_models.pytorch 0.2.0. The mask has half
the image's side, as published. Shapes in the comments are those of the base size at 512 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn
from torch.nn import functional

from omlab_deblurmim.convvit import ConvConfig, ConvStages
from omlab_deblurmim.vit import VitConfig, pooled
from omlab_image.patches import sincos_table
from omlab_kernels import LaidOutTable, attention_table_bias, table_index, table_rows

DECODER_WIDTHS = (256, 128, 64, 32)
VIT_BLOCKS = (3, 5, 7, 11)
CONV_EPS = 1e-5
"""Of the third stage's layer norms here; in pre-training they have 1e-6."""

Form = Literal["unet++", "unet"]


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """The network: its encoder, the form and widths of its decoder (coarsest first), and the maps that it gives.

    `blocks` are those after which a plain encoder's tokens are taken.
    """

    encoder: ConvConfig | VitConfig = field(default_factory=lambda: ConvConfig(image_size=512, eps=CONV_EPS))
    form: Form = "unet++"
    widths: tuple[int, ...] = DECODER_WIDTHS
    classes: int = 1
    blocks: tuple[int, ...] = VIT_BLOCKS

    def __post_init__(self) -> None:
        if self.form not in ("unet++", "unet") or len(self.widths) != 4:
            raise ValueError(f"A decoder is a unet++ or a unet of four widths, not a {self.form} of {self.widths}.")


class TableAttention(nn.Module):
    """Self-attention with a bias that is looked up in a table by relative position."""

    def __init__(self, width: int, *, heads: int, grid: int, class_token: bool) -> None:
        super().__init__()
        self.heads = heads
        shape = (grid, grid)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(table_rows(shape, class_token=class_token), heads))
        index = table_index(shape, class_token=class_token)
        self.register_buffer("relative_position_index", index, persistent=False)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.laid_out = LaidOutTable()

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width), the same shape."""
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # each (B, heads, N, c)
        index = self.get_buffer("relative_position_index")
        bias = self.laid_out(self.relative_position_bias_table, index, dtype=q.dtype)
        out: Tensor = self.proj(attention_table_bias(q, k, v, bias).transpose(1, 2).flatten(2))
        return out


class TableBlock(nn.Module):
    """A transformer block with that attention, whose parts are scaled by `gamma_1` and `gamma_2`."""

    def __init__(
        self, width: int, *, heads: int, ratio: float, eps: float, grid: int, class_token: bool, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.attn = TableAttention(width, heads=heads, grid=grid, class_token=class_token)
        self.mlp = Mlp(width, int(width * ratio))
        self.gamma_1, self.gamma_2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width), the same shape."""
        x = x + self.drop_path(self.gamma_1 * self.attn(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.gamma_2 * self.mlp(self.norm2(x)))
        return out


class ConvEncoder(ConvStages):
    """Maps (B, 256, 128, 128), (B, 384, 64, 64), (B, 768, 32, 32), (B, 768, 16, 16) of images (B, 3, 512, 512)."""

    def __init__(self, config: ConvConfig) -> None:
        def block(number: int) -> nn.Module:
            return TableBlock(
                config.widths[2],
                heads=config.heads,
                ratio=config.mlp_ratios[2],
                eps=config.eps,
                grid=config.grid,
                class_token=False,
                drop_path=config.drop_paths[2][number],
            )

        super().__init__(config, positions_learn=True, block=block)
        width = config.widths[2]
        self.widths = (*config.widths, width)
        self.fpn = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, stride=2, padding=1), nn.BatchNorm2d(width), nn.GELU()
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """As the class says, finest first."""
        stage1, stage2, tokens = self.stages(image)
        stage3 = _as_map(self.through_blocks3(tokens), self.config.grid)
        return [stage1, stage2, stage3, self.fpn(stage3)]


class VitEncoder(nn.Module):
    """Four maps (B, 768, h, w) at strides 4, 8, 16 and 32 of a plain encoder with a class token."""

    def __init__(self, config: VitConfig, *, blocks: tuple[int, ...]) -> None:
        if len(blocks) != 4 or list(blocks) != sorted(set(blocks)) or not 0 <= blocks[0] <= blocks[-1] < config.depth:
            raise ValueError(f"Maps are taken after four of {config.depth} blocks, ascending from 0, not {blocks}.")
        super().__init__()
        self.config, self.taken = config, blocks
        width = config.width
        self.widths = (width,) * 4
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(sincos_table(width, grid=config.grid, prefix=1).float()[None])
        self.patch_embed = PatchEmbed(config.image_size, config.patch_size, 3, width)
        self.blocks = nn.ModuleList(
            TableBlock(
                width, heads=config.heads, ratio=config.mlp_ratio, eps=config.eps, grid=config.grid, class_token=True
            )
            for _ in range(config.depth)
        )
        self.fpn1 = nn.Sequential(
            nn.ConvTranspose2d(width, width, kernel_size=2, stride=2),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, kernel_size=2, stride=2),
        )
        self.fpn2 = nn.Sequential(nn.ConvTranspose2d(width, width, kernel_size=2, stride=2))
        self.fpn3, self.fpn4 = nn.Identity(), nn.MaxPool2d(kernel_size=2, stride=2)

    def forward(self, image: Tensor) -> list[Tensor]:
        """As the class says, finest first."""
        taken = [tokens for number, tokens in enumerate(self._after_blocks(image)) if number in self.taken]
        scales = (self.fpn1, self.fpn2, self.fpn3, self.fpn4)
        return [scale(_as_map(one[:, 1:], self.config.grid)) for scale, one in zip(scales, taken, strict=True)]

    def features(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, width): the normed mean of the patch tokens (`omlab_deblurmim.vit.pooled`)."""
        return pooled(self._after_blocks(image)[-1][:, 1:], eps=self.config.eps)

    def _after_blocks(self, image: Tensor) -> list[Tensor]:
        patches = self.patch_embed(image)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found


def _as_map(tokens: Tensor, grid: int) -> Tensor:
    """(B, grid^2, D) -> (B, D, grid, grid)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, grid, grid)


class DecoderBlock(nn.Module):
    """Twice the size (nearest), the skip beside it, two convolutions with batch norm and ReLU."""

    def __init__(self, in_channels: int, skip: int, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Sequential(
                nn.Conv2d(before, channels, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
            )
            for before in (in_channels + skip, channels)
        )

    def forward(self, x: Tensor, skips: Sequence[Tensor] = ()) -> Tensor:
        """(B, in, h, w) and maps of twice that size -> (B, channels, 2 h, 2 w)."""
        larger = functional.interpolate(x, scale_factor=2, mode="nearest")
        out: Tensor = self.conv2(self.conv1(torch.cat([larger, *skips], dim=1)))
        return out


class Unet(nn.Module):
    """The U-Net's decoder: each block takes the map of the block before and one skip."""

    def __init__(self, maps: Sequence[int], *, widths: Sequence[int]) -> None:
        super().__init__()
        coarse, *skips = reversed(maps)
        steps = zip(pairwise((coarse, *widths)), (*skips, 0), strict=True)
        self.blocks = nn.ModuleList(DecoderBlock(before, skip, after) for (before, after), skip in steps)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, widths[-1], 2 h, 2 w) of maps, finest (h, w) first."""
        x, *skips = reversed(maps)
        for number, block in enumerate(self.blocks):
            x = block(x, skips[number : number + 1])
        return x


class UnetPlusPlus(nn.Module):
    """The nested decoder of Zhou et al., "UNet++", 2018: block `x_<d>_<l>` stands d steps below layer l's first one."""

    def __init__(self, maps: Sequence[int], *, widths: Sequence[int]) -> None:
        super().__init__()
        coarse, *skips = reversed(maps)
        before = (coarse, *widths[:-1])
        self.blocks = nn.ModuleDict()
        for layer in range(len(skips)):
            count = layer + 1
            self.blocks[f"x_0_{layer}"] = DecoderBlock(before[layer], skips[layer] * count, widths[layer])
            for depth in range(1, count):
                skip = skips[layer] * (count - depth)
                self.blocks[f"x_{depth}_{layer}"] = DecoderBlock(skips[layer - 1], skip, skips[layer])
        self.layers = len(skips)
        self.blocks[f"x_0_{self.layers}"] = DecoderBlock(before[-1], 0, widths[-1])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, widths[-1], 2 h, 2 w) of maps, finest (h, w) first."""
        coarse, *skips = reversed(maps)
        sources = (coarse, *skips)
        found: dict[tuple[int, int], Tensor] = {}
        for layer in range(self.layers):
            for depth in range(layer, -1, -1):
                below = sources[layer] if depth == layer else found[depth, layer - 1]
                beside = [found[other, layer] for other in range(depth + 1, layer + 1)]
                found[depth, layer] = self.blocks[f"x_{depth}_{layer}"](below, [*beside, skips[layer]])
        x: Tensor = self.blocks[f"x_0_{self.layers}"](found[0, self.layers - 1])
        return x


class Segmenter(nn.Module):
    """Logits (B, classes, S / 2, S / 2) of images (B, 3, S, S)."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        encoder = config.encoder
        self.encoder: ConvEncoder | VitEncoder = (
            ConvEncoder(encoder) if isinstance(encoder, ConvConfig) else VitEncoder(encoder, blocks=config.blocks)
        )
        make: Any = UnetPlusPlus if config.form == "unet++" else Unet
        self.decoder: Unet | UnetPlusPlus = make(self.encoder.widths, widths=config.widths)
        self.segmentation_head = nn.Sequential(nn.Conv2d(config.widths[-1], config.classes, kernel_size=3, padding=1))
        self.apply(partial(_initialise, trunc=0.02))

    def forward(self, image: Tensor) -> Tensor:
        """As the class says."""
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(image)))
        return logits


def _initialise(module: nn.Module, *, trunc: float) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=trunc)
        nn.init.zeros_(module.bias)

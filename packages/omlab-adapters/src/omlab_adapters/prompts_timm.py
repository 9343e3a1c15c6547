"""Prompts in networks of timm: `VisionTransformer`, `Eva`, `Beit` and `SwinTransformer`, and classes made of them.

The names of a network's own parameters stay as they are. In front of the first layer behind the blocks the prompts are
gone again, so that pooling and heads see the tokens that they are made for; a Swin Transformer averages over prompts
and patches.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from timm.models import swin_transformer
from timm.models.beit import Attention as BeitAttention
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from omlab_adapters.prompts import Rows, TakesPrompts, padded_bias, with_prompts, without_prompts
from omlab_adapters.prompts_swin import Attention, attended, joined, merged_prompts, partition, prompted_block


def taking_prompts(network: nn.Module) -> TakesPrompts | None:
    """What puts prompts into a network of timm; None where it is none of those known here."""
    if isinstance(network, SwinTransformer):
        return _Swin(network)
    if isinstance(network, VisionTransformer | Eva | Beit):
        return _Vit(network)
    return None


class _Vit:
    """Networks whose blocks take tokens (B, prefix + patches, D): prompts lie between the prefix and the patches."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.prompt_blocks = len(network.blocks)
        self.prompt_width = int(network.embed_dim)

    def take_prompts(self, prompt: Tensor, *, rows: Rows, compat: bool) -> None:
        network, length = self.network, prompt.shape[1]
        start = int(network.num_prefix_tokens)
        network.register_parameter("prompt", nn.Parameter(prompt.to(next(network.parameters()))))
        for place, (layer, row) in enumerate(zip(network.blocks, rows, strict=True)):
            if row is not None:
                layer.register_forward_pre_hook(_PutIn(network, row, start))
            if place + 1 == len(rows) or rows[place + 1] is not None:
                layer.register_forward_hook(_TakeOut(start, length))
        for part in network.blocks.modules():
            if hasattr(part, "num_prefix_tokens"):  # rotary positions begin behind these
                part.num_prefix_tokens += length
            if isinstance(part, BeitAttention) and part.relative_position_bias_table is not None:
                part.__class__ = _BeitAttention
                cast(_BeitAttention, part).prompts = (start, length)
        shared = getattr(network, "rel_pos_bias", None)
        if isinstance(network, Beit) and shared is not None:
            shared.register_forward_hook(_PadBias(start, length))


class _PutIn:
    """In front of a block: put a row of the prompts into its tokens."""

    def __init__(self, network: nn.Module, row: int, start: int) -> None:
        self.network, self.row, self.start = network, row, start

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        prompt = cast(Tensor, self.network.prompt)[self.row]
        return (with_prompts(inputs[0], prompt, start=self.start), *inputs[1:])


class _TakeOut:
    """Behind a block: take the prompts out."""

    def __init__(self, start: int, length: int) -> None:
        self.start, self.length = start, length

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return without_prompts(output, start=self.start, length=self.length)


class _PadBias:
    """Behind a bias of relative positions: rows and columns for the prompts, which have no position."""

    def __init__(self, start: int, length: int) -> None:
        self.start, self.length = start, length

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return padded_bias(output, start=self.start, length=self.length)


class _BeitAttention(BeitAttention):
    """Beit's attention with a bias that knows of prompts; `prompts` is where they begin and how many there are."""

    prompts: tuple[int, int]

    def _get_rel_pos_bias(self) -> Tensor:
        start, length = self.prompts
        return padded_bias(super()._get_rel_pos_bias(), start=start, length=length)


class _Swin:
    """Stages are replaced by ones that carry the prompts through (`PromptedStages`)."""

    prompt_blocks = 1

    def __init__(self, network: Any) -> None:
        self.network = network
        self.prompt_width = int(network.patch_embed.proj.out_channels)

    def take_prompts(self, prompt: Tensor, *, rows: Rows, compat: bool) -> None:
        stages = PromptedStages(*self.network.layers, mixed=compat)
        stages.register_parameter("prompt", nn.Parameter(prompt.to(next(self.network.parameters()))))
        self.network.layers = stages


class PromptedStages(nn.Sequential):
    """The stages of timm's `SwinTransformer` with prompts; its parameters have the names that they had.

    Args:
        stages: Of the network.
        mixed: As `omlab_adapters.prompts_swin` says.
    """

    prompt: Tensor

    def __init__(self, *stages: nn.Module, mixed: bool) -> None:
        super().__init__(*stages)
        self.mixed = mixed

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (B, H, W, C) to tokens (B, 1, P + h w, D), a map of one row, over which timm's heads average."""
        grid, length = (patches.shape[1], patches.shape[2]), self.prompt.shape[1]
        tokens = with_prompts(patches.flatten(1, 2), self.prompt[0], start=0)
        stages: list[Any] = list(self)
        for stage in stages:
            if not isinstance(stage.downsample, nn.Identity):
                tokens, grid = self._merged(stage.downsample, tokens, grid)
            for layer in stage.blocks:
                tokens = prompted_block(
                    tokens,
                    length=length,
                    grid=grid,
                    norm1=layer.norm1,
                    attend=partial(self._attend, layer),
                    norm2=layer.norm2,
                    mlp=layer.mlp,
                    drop1=layer.drop_path1,
                    drop2=layer.drop_path2,
                )
        return tokens[:, None]

    def _merged(self, downsample: Any, tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        length = self.prompt.shape[1]
        prompts = downsample.reduction(downsample.norm(merged_prompts(tokens[:, :length])))
        patches = downsample(tokens[:, length:].reshape(len(tokens), *grid, -1))
        return torch.cat([prompts, patches.flatten(1, 2)], dim=1), (patches.shape[1], patches.shape[2])

    def _attend(self, layer: SwinTransformerBlock, patches: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Attention of a block's windows: timm shifts first and pads then."""
        _, height, width, _ = patches.shape
        rows, columns = layer.window_size
        down, right = layer.shift_size
        padded = functional.pad(patches.roll((-down, -right), (1, 2)), (0, 0, 0, -width % columns, 0, -height % rows))
        grid = (padded.shape[1], padded.shape[2])
        mask = layer.get_attn_mask(padded) if layer.dynamic_mask else cast("Tensor | None", layer.attn_mask)
        part: swin_transformer.WindowAttention = layer.attn
        attention = Attention(
            qkv=part.qkv,
            proj=lambda tokens: part.proj_drop(part.proj(tokens)),
            heads=part.num_heads,
            bias=part._get_rel_pos_bias()[0],
            dropout=part.attn_drop.p if part.training else 0.0,
        )
        windows, prompts = attended(partition(padded, (rows, columns)), prompts, attention, mask=mask, mixed=self.mixed)
        patches = joined(windows, (rows, columns), grid=grid)[:, :height, :width]
        return patches.roll((down, right), (1, 2)), prompts

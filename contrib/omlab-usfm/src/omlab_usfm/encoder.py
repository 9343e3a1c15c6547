"""USFM's encoder: BEiT's vision transformer with a relative position bias, alone or with a classifier on top.

Jiao et al., "USFM: A universal ultrasound foundation model generalized to tasks and organs towards label efficient
image analysis", Medical Image Analysis 96 (2024) 103202; Bao et al., "BEiT", ICLR 2022. The network is timm's `Beit`,
whose keys are the published ones; only its attention is another: it lays the relative position bias out in one pass and
keeps it where no gradients are taken. Shapes in the comments are those of the published size at 224 px.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from timm.models import beit
from torch import Tensor, nn
from torch.nn import functional

from omlab_kernels import LaidOutTable, attention_table_bias


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The hyper-parameters; those that are left out are the published classifier's.

    Attributes:
        image_size: Side of the (square) image in pixels.
        patch_size: Side of a patch.
        channels: Of the image.
        width: Of a token.
        depth: Blocks.
        heads: Of each attention.
        mlp_ratio: Width of the hidden layer over `width`.
        qv_bias: Whether queries and values have a bias (keys never do).
        layer_scale: Initial value of `gamma_1` and `gamma_2`; None: there are none.
        absolute_positions: Whether a learnt position is added to each token.
        block_tables: Whether each block has a table of relative positions.
        shared_table: Whether there is one that all blocks share, as in the published pre-training file.
        mean_pooling: Features are the mean of the patch tokens, then normalised; else the normalised class token.
        drop_path: Stochastic depth of the last block, which the others approach linearly.
        attention_dropout: Of the attention weights.
        dropout: After every projection.
        eps: Of the layer norms.
    """

    image_size: int = 224
    patch_size: int = 16
    channels: int = 3
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    qv_bias: bool = True
    layer_scale: float | None = 0.1
    absolute_positions: bool = False
    block_tables: bool = True
    shared_table: bool = False
    mean_pooling: bool = True
    drop_path: float = 0.1
    attention_dropout: float = 0.0
    dropout: float = 0.0
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size or self.image_size < self.patch_size:
            raise ValueError(f"An image of {self.image_size} px is no whole number of patches of {self.patch_size} px.")
        if self.width % self.heads:
            raise ValueError(f"A width of {self.width} cannot be shared by {self.heads} heads.")
        smallest = min(self.patch_size, self.channels, self.width, self.depth, self.heads)
        if smallest < 1:
            raise ValueError(f"Every size of {self} must be at least 1.")

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size


class TableAttention(beit.Attention):
    """timm's BEiT attention: separate biases of queries and values, a bias looked up by relative position."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(
            config.width,
            num_heads=config.heads,
            qkv_bias=config.qv_bias,
            attn_drop=config.attention_dropout,
            proj_drop=config.dropout,
            window_size=(config.grid, config.grid) if config.block_tables else None,
        )
        self.laid_out = LaidOutTable()

    def forward(self, x: Tensor, shared_rel_pos_bias: Tensor | None = None) -> Tensor:
        """(B, N, width) -> (B, N, width); `shared_rel_pos_bias` (heads, N, N) is added to the block's own."""
        biases = (self.q_bias, self.k_bias, self.v_bias)
        bias = None if self.q_bias is None else torch.cat([one for one in biases if one is not None])
        qkv = functional.linear(x, self.qkv.weight, bias)
        q, k, v = qkv.view(*x.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)  # each (B, heads, N, c)
        positions = self._positions(shared_rel_pos_bias, dtype=q.dtype)
        dropout = self.attn_drop.p if self.training else 0.0
        if positions is None:
            out = functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        else:
            out = attention_table_bias(q, k, v, positions, dropout=dropout)
        projected: Tensor = self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))
        return projected

    def _positions(self, shared: Tensor | None, *, dtype: torch.dtype) -> Tensor | None:
        table, index = self.relative_position_bias_table, self.relative_position_index
        if table is None or index is None:
            return None if shared is None else shared.to(dtype)
        own = self.laid_out(table, index, dtype=dtype)
        return own if shared is None else own + shared.to(dtype)


class Encoder(beit.Beit):
    """The encoder, with a classifier where there are classes.

    `forward` gives logits (B, classes) of images (B, 3, H, W); `features` what the classifier sees.
    """

    def __init__(self, config: EncoderConfig, *, classes: int = 0) -> None:
        super().__init__(
            img_size=config.image_size,
            patch_size=config.patch_size,
            in_chans=config.channels,
            num_classes=classes,
            global_pool="avg" if config.mean_pooling else "token",
            embed_dim=config.width,
            depth=config.depth,
            num_heads=config.heads,
            qkv_bias=config.qv_bias,
            mlp_ratio=config.mlp_ratio,
            pos_drop_rate=config.dropout,
            proj_drop_rate=config.dropout,
            attn_drop_rate=config.attention_dropout,
            drop_path_rate=config.drop_path,
            norm_layer=partial(nn.LayerNorm, eps=config.eps),  # type: ignore[arg-type]  # timm calls it
            init_values=config.layer_scale,
            use_abs_pos_emb=config.absolute_positions,
            use_rel_pos_bias=config.block_tables,
            use_shared_rel_pos_bias=config.shared_table,
        )
        self.config = config
        for block in self.blocks:
            block.attn = TableAttention(config)
        self.init_weights()

    def features(self, image: Tensor) -> Tensor:
        """(B, width) of images (B, 3, H, W): the mean of the patch tokens, normalised."""
        found: Tensor = self.forward_head(self.forward_features(image), pre_logits=True)
        return found


class PyramidEncoder(Encoder):
    """The encoder of the segmentation networks: patch tokens after some blocks, as maps of several scales.

    By their place in `blocks` the first map is enlarged 4 times, the second twice, the third stays, the fourth is
    halved. The tokens are not normalised at the end.
    """

    def __init__(self, config: EncoderConfig, *, blocks: tuple[int, ...]) -> None:
        if not 1 <= len(blocks) <= 4 or list(blocks) != sorted(set(blocks)) or not 0 <= blocks[0] <= blocks[-1]:
            raise ValueError(f"Maps are taken after one to four blocks in ascending order, not {blocks}.")
        if blocks[-1] >= config.depth:
            raise ValueError(f"A map is to be taken after block {blocks[-1]}, but there are {config.depth} from 0.")
        super().__init__(config)
        self.norm, self.fc_norm = nn.Identity(), nn.Identity()
        self.taken = blocks
        width = config.width
        self.fpn1 = nn.Sequential(
            nn.ConvTranspose2d(width, width, kernel_size=2, stride=2),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, kernel_size=2, stride=2),
        )
        self.fpn2 = nn.Sequential(nn.ConvTranspose2d(width, width, kernel_size=2, stride=2))
        self.fpn3, self.fpn4 = nn.Identity(), nn.MaxPool2d(kernel_size=2, stride=2)

    def forward(self, image: Tensor) -> list[Tensor]:  # type: ignore[override]  # maps in place of logits
        """Maps (B, width, h, w) of images (B, 3, H, W), at strides 4, 8, 16 and 32 for patches of 16 px."""
        maps = self.forward_intermediates(image, indices=list(self.taken), stop_early=True, intermediates_only=True)
        scales = (self.fpn1, self.fpn2, self.fpn3, self.fpn4)
        return [scale(one) for scale, one in zip(scales, maps, strict=False)]

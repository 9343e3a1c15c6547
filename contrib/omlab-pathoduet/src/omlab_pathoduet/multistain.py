"""Multi-stain reconstruction, PathoDuet's older third task: a masked H&E image is painted in another stain.

A masked autoencoder (He et al., CVPR 2022) whose pretext token is made of a crop of the other stain and is handed to
every token of the decoder. Keys and shapes are upstream's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from omlab_image.patches import Masking, draw_mask, gathered
from omlab_kernels import masked_patch_error
from omlab_pathoduet.positions import PREFIX, sincos_table
from omlab_pathoduet.vit import CHANNELS, PatchEmbed, PathoVit, VitConfig, initialise_blocks

EPS = 1e-5
"""Of its norms; those of the encoders are of 1e-6."""
_CLASS_ROWS = 1


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The decoder; left out, upstream's. Its blocks are twice `width` wide: a token and the pretext token beside it."""

    width: int = 768
    depth: int = 4
    heads: int = 6


class MultiStain(nn.Module):
    """Called with views `he`, `ihc` (B, 3, S, S), `stain` (B, 3, 16, 16) and `noise` (B, L), it gives its loss.

    Args:
        config: The encoder; it norms its tokens, whatever it pools.
        decoder: The decoder.
        ratio: Share of patches that are removed.
    """

    def __init__(self, config: VitConfig, *, decoder: DecoderConfig, ratio: float = 0.75) -> None:
        super().__init__()
        self.config, self.decoder, self.ratio = config, decoder, ratio
        D, E, wide = config.width, decoder.width, 2 * decoder.width
        norm: Any = partial(nn.LayerNorm, eps=EPS)
        block = partial(Block, mlp_ratio=config.mlp_ratio, qkv_bias=config.qkv_bias, norm_layer=norm)
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, D))
        self.pretext_token = nn.Parameter(torch.zeros(1, 1, D))
        self.pos_embed = _fixed(sincos_table(D, grid=config.grid))
        self.blocks = nn.ModuleList(block(D, config.heads) for _ in range(config.depth))
        self.norm = norm(D)
        self.decoder_embed = nn.Linear(D, E)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, wide))
        self.decoder_pos_embed = _fixed(sincos_table(wide, grid=config.grid, prefix=_CLASS_ROWS))
        self.decoder_blocks = nn.ModuleList(block(wide, decoder.heads) for _ in range(decoder.depth))
        self.decoder_norm = norm(wide)
        self.decoder_pred = nn.Linear(wide, config.patch**2 * CHANNELS)

    def initialise(self) -> None:
        """Draw initial values as those of the encoders are drawn."""
        initialise_blocks(self)

    def forward(self, views: Mapping[str, Tensor], *, momentum: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The error of what is painted, and no further figures; there is nothing to be averaged at `momentum`."""
        prediction, mask = self.paint(views["he"], views["stain"], views["noise"])
        return self.error(prediction, views["ihc"], mask), {}

    def paint(self, images: Tensor, stain: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Every patch as it is predicted (B, L, 3 P^2) from those of the smallest draws (B, L), and the mask (B, L)."""
        masking = draw_mask(noise, ratio=self.ratio)
        return self.decode(self.encode(images, stain, masking), masking), masking.mask

    def encode(self, images: Tensor, stain: Tensor | None, masking: Masking | None) -> Tensor:
        """The normed tokens, (B, 2 + K, D): pretext (of the stain, or the learned one), class, kept patches.

        All patches are kept without a masking.
        """
        return self.norm(self._tokens(images, stain, masking))  # type: ignore[no-any-return]

    def decode(self, encoded: Tensor, masking: Masking) -> Tensor:
        """(B, 2 + K, D) -> a prediction for each of the L patches, (B, L, 3 P^2)."""
        x = self.decoder_embed(encoded)
        x = torch.cat([x[:, 1:], x[:, :1].expand(-1, x.shape[1] - 1, -1)], dim=2)  # each with the pretext token
        removed = masking.restore.shape[1] - masking.kept.shape[1]
        patches = torch.cat([x[:, 1:], self.mask_token.to(x.dtype).expand(len(x), removed, -1)], dim=1)
        x = torch.cat([x[:, :1], gathered(patches, masking.restore)], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        prediction: Tensor = self.decoder_pred(self.decoder_norm(x))
        return prediction[:, 1:]

    def error(self, prediction: Tensor, images: Tensor, mask: Tensor | None) -> Tensor:
        """The mean squared error of raw pixels over the patches of the mask; of all of them without one."""
        return masked_patch_error(prediction, images, mask, patch=self.config.patch, normalise=False)

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D): the mean of the patches, normed without scale, as of an encoder made of this one."""
        mean = self._tokens(images, None, None)[:, PREFIX:].mean(dim=1)
        return functional.layer_norm(mean, mean.shape[-1:], eps=self.config.eps)

    def _tokens(self, images: Tensor, stain: Tensor | None, masking: Masking | None) -> Tensor:
        patches = self.patch_embed(images) + self.pos_embed[:, PREFIX:]
        if masking is not None:
            patches = gathered(patches, masking.kept)
        pretext = self.pretext_token if stain is None else self.patch_embed(stain).mean(dim=1, keepdim=True)
        first = [token.to(patches.dtype).expand(len(patches), -1, -1) for token in (pretext, self.cls_token)]
        x = torch.cat([*first, patches], dim=1)
        for block in self.blocks:
            x = block(x)
        return x


def encoder_state(network: MultiStain) -> dict[str, Tensor]:
    """The values of an encoder of the average form made of this network: its norm is none of the mean's."""
    own = {key: value for key, value in network.state_dict().items() if not key.startswith(("decoder_", "mask_token"))}
    fresh = PathoVit(network.config).state_dict()
    return {key: own.get(key, value) if not key.startswith("norm.") else value for key, value in fresh.items()}


def _fixed(table: Tensor) -> nn.Parameter:
    return nn.Parameter(table.float()[None], requires_grad=False)

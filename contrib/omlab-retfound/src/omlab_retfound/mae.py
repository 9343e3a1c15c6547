"""Masked autoencoders (He et al. 2022), as RETFound was pre-trained: some patches are seen, the rest is painted.

Keys and shapes are those of the published files, which hold encoder and decoder. Source: Masked Autoencoders Are
Scalable Vision Learners, CVPR 2022, arXiv 2111.06377.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from omlab_image.patches import Masking, draw_mask, gathered, sincos_table
from omlab_kernels import masked_patch_error
from omlab_retfound.vit import EPS, VitConfig

CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The decoder; left out, RETFound's."""

    width: int = 512
    depth: int = 8
    heads: int = 16


class MaskedAutoencoder(nn.Module):
    """Encoder and decoder.

    Called with images (B, 3, S, S) and a generator on their device, it gives the loss, and no further figures.

    Args:
        config: The encoder; its pool says what `features` gives.
        decoder: The decoder.
        ratio: Share of patches that are removed: 0.75 for photographs, 0.85 for OCT.
        normalise: Whether patches are painted as normalised by their own mean and deviation.
    """

    def __init__(
        self, config: VitConfig, *, decoder: DecoderConfig, ratio: float = 0.75, normalise: bool = True
    ) -> None:
        super().__init__()
        if config.form != "mae" or config.classes:
            raise ValueError(f"a masked autoencoder is of the form mae without classes, not {config}")
        self.config, self.decoder, self.ratio, self.normalise = config, decoder, ratio, normalise
        D, E, tokens = config.width, decoder.width, 1 + config.grid**2
        norm: Any = partial(nn.LayerNorm, eps=EPS)
        block = partial(Block, mlp_ratio=config.mlp_ratio, qkv_bias=True, norm_layer=norm)
        self.patch_embed = PatchEmbed(config.size, config.patch, CHANNELS, D)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, D))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, D), requires_grad=False)
        self.blocks = nn.ModuleList(block(D, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(D, eps=EPS)
        self.decoder_embed = nn.Linear(D, E)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, E))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, tokens, E), requires_grad=False)
        self.decoder_blocks = nn.ModuleList(block(E, decoder.heads) for _ in range(decoder.depth))
        self.decoder_norm = nn.LayerNorm(E, eps=EPS)
        self.decoder_pred = nn.Linear(E, config.patch**2 * CHANNELS)

    def initialise(self) -> None:
        """Draw initial values as published: Xavier-uniform, tokens of deviation 0.02, tables of sines and cosines."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        projection = self.patch_embed.proj
        nn.init.xavier_uniform_(projection.weight.view(len(projection.weight), -1))  # as the linear layer that it is
        nn.init.zeros_(projection.bias)  # type: ignore[arg-type]  # it has one
        for token in (self.cls_token, self.mask_token):
            nn.init.normal_(token, std=0.02)
        with torch.no_grad():
            for table in (self.pos_embed, self.decoder_pos_embed):
                table.copy_(sincos_table(table.shape[-1], grid=self.config.grid, prefix=1)[None])

    def forward(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """The error of what is painted where the generator removes patches."""
        noise = torch.rand(len(images), self.config.grid**2, generator=generator, device=images.device)
        prediction, mask = self.paint(images, noise)
        return self.error(prediction, images, mask), {}

    def paint(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Every patch as it is predicted (B, L, 3 P^2) from those of the smallest draws (B, L), and the mask (B, L)."""
        masking = draw_mask(noise, ratio=self.ratio)
        return self.decode(self.encode(images, masking), masking), masking.mask

    def encode(self, images: Tensor, masking: Masking | None = None) -> Tensor:
        """The normed tokens of the class and of the kept patches (all of them without a masking), (B, 1 + K, D)."""
        encoded: Tensor = self.norm(self._tokens(images, masking))
        return encoded

    def decode(self, encoded: Tensor, masking: Masking) -> Tensor:
        """(B, 1 + K, D) -> a prediction for each of the L patches, (B, L, 3 P^2)."""
        x = self.decoder_embed(encoded)
        B, _, E = x.shape
        removed = masking.restore.shape[1] - masking.kept.shape[1]
        patches = torch.cat([x[:, 1:], self.mask_token.to(x.dtype).expand(B, removed, E)], dim=1)
        x = torch.cat([x[:, :1], gathered(patches, masking.restore)], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        prediction: Tensor = self.decoder_pred(self.decoder_norm(x))
        return prediction[:, 1:]

    def error(self, prediction: Tensor, images: Tensor, mask: Tensor, *, normalise: bool | None = None) -> Tensor:
        """The mean squared error over the removed patches, in the network's own scale unless told otherwise."""
        chosen = self.normalise if normalise is None else normalise
        return masked_patch_error(prediction, images, mask, patch=self.config.patch, normalise=chosen)

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D): the mean of the patches normed without scale, or the normed class token.

        The published classifier norms the mean by an `fc_norm` of its own, which no pre-trained file has; the file's
        `norm` is that of tokens.
        """
        if self.config.pool == "token":
            return self.encode(images)[:, 0]
        mean = self._tokens(images)[:, 1:].mean(dim=1)
        return functional.layer_norm(mean, mean.shape[-1:], eps=EPS)

    def embedded(self, images: Tensor, masking: Masking | None = None) -> Tensor:
        """The class token and the kept patches with their positions, (B, 1 + K, D): what blocks are given."""
        patches = self.patch_embed(images) + self.pos_embed[:, 1:]
        if masking is not None:
            patches = gathered(patches, masking.kept)
        first = (self.cls_token + self.pos_embed[:, :1]).to(patches.dtype)
        return torch.cat([first.expand(len(patches), -1, -1), patches], dim=1)

    def _tokens(self, images: Tensor, masking: Masking | None = None) -> Tensor:
        x = self.embedded(images, masking)
        for block in self.blocks:
            x = block(x)
        return x


def untrained_autoencoder(config: VitConfig, *, decoder: DecoderConfig, seed: int = 0) -> MaskedAutoencoder:
    """A network in evaluation mode with the published initial values, the same ones for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = allocate_autoencoder(config, decoder=decoder)
        network.initialise()
    return network


def allocate_autoencoder(config: VitConfig, *, decoder: DecoderConfig) -> MaskedAutoencoder:
    """A network on the CPU in evaluation mode whose values are still to be filled in."""
    with torch.device("meta"):
        network = MaskedAutoencoder(config, decoder=decoder)
    return network.to_empty(device="cpu").eval()

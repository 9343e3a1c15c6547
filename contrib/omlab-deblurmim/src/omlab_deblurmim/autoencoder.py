"""The two masked autoencoders: MAE on a plain vision transformer, and ConvMAE on a convolutional one.

Kang et al., "Deblurring masked autoencoder is better recipe for ultrasound image recognition", MICCAI 2023, arXiv
2306.08249, and "Deblurring masked image modeling for ultrasound image analysis", Medical Image Analysis 97 (2024)
103256: the networks are those of He et al. (CVPR 2022) and Gao et al. (ConvMAE, NeurIPS 2022), the blurred image goes
in and the sharp one is what is painted. Keys are the published ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from omlab_deblurmim.convvit import ConvConfig, ConvStages
from omlab_deblurmim.vit import VitConfig, pooled
from omlab_image.patches import Masking, draw_mask, gathered, sincos_table
from omlab_kernels import masked_patch_error

RATIO = 0.75


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The decoder, which is used in pre-training alone; left out, the published one of the base size.

    ConvMAE's larger sizes take the first stage's MLP ratio for it too: 8.
    """

    width: int = 512
    depth: int = 8
    heads: int = 16
    mlp_ratio: float = 4.0


class MaskedAutoencoder(nn.Module, ABC):
    """The base of both autoencoders: their decoder, whose parts lie beside the encoder's in the published files.

    Called with images (B, 3, S, S) and a generator, it gives the error over the removed patches; with two images by
    name, `image` (blurred) and `sharp`, the deblurring error, over all patches.
    """

    patch: int
    grid: int
    ratio = RATIO
    """Share of the patches that are removed."""
    normalise = False
    """Whether patches are painted as normalised by their own mean and deviation."""

    def _add_decoder(self, config: DecoderConfig, *, width: int, eps: float, class_token: bool) -> None:
        self.has_class_token = class_token
        norm: Any = partial(nn.LayerNorm, eps=eps)
        self.decoder_embed = nn.Linear(width, config.width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.width))
        table = sincos_table(config.width, grid=self.grid, prefix=int(class_token)).float()[None]
        self.decoder_pos_embed = nn.Parameter(table, requires_grad=False)
        self.decoder_blocks = nn.ModuleList(
            Block(config.width, config.heads, mlp_ratio=config.mlp_ratio, qkv_bias=True, norm_layer=norm)
            for _ in range(config.depth)
        )
        self.decoder_norm = norm(config.width)
        self.decoder_pred = nn.Linear(config.width, 3 * self.patch**2)

    def _initialise(self) -> None:
        """Xavier-uniform linear layers, the last patch embedding as one; the rest as PyTorch does."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        kernel = self.get_parameter(self._linear_kernel)
        nn.init.xavier_uniform_(kernel.view(len(kernel), -1))
        nn.init.normal_(self.mask_token, std=0.02)

    _linear_kernel = ""
    """Name of the patch embedding's kernel that is drawn as the linear layer that it is."""

    def forward(
        self, images: Tensor | Mapping[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and no parts; masks are drawn from the generator, which is on the images' device."""
        seen, target, is_deblurring = images, images, False
        if not isinstance(images, Tensor):
            seen, target, is_deblurring = images["image"], images["sharp"], True
        assert isinstance(seen, Tensor)
        assert isinstance(target, Tensor)
        noise = torch.rand(len(seen), self.grid**2, generator=generator, device=seen.device)
        masking = draw_mask(noise, ratio=self.ratio)
        painted = self.decode(self.encode(seen, masking), masking)
        counts = None if is_deblurring else masking.mask
        return masked_patch_error(painted, target, counts, patch=self.patch, normalise=self.normalise), {}

    @abstractmethod
    def encode(self, image: Tensor, masking: Masking) -> Tensor:
        """The normed tokens of the patches that are seen, after the class token's where there is one."""

    def decode(self, encoded: Tensor, masking: Masking) -> Tensor:
        """What is painted on each patch (B, L, 3 patch^2), of what `encode` gives."""
        x = self.decoder_embed(encoded)
        first = int(self.has_class_token)
        removed = masking.restore.shape[1] - masking.kept.shape[1]
        patches = torch.cat([x[:, first:], self.mask_token.to(x.dtype).expand(len(x), removed, -1)], dim=1)
        x = torch.cat([x[:, :first], gathered(patches, masking.restore)], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        painted: Tensor = self.decoder_pred(self.decoder_norm(x))
        return painted[:, first:]


class Mae(MaskedAutoencoder):
    """The masked autoencoder on a plain vision transformer with a class token."""

    _linear_kernel = "patch_embed.proj.weight"

    def __init__(self, config: VitConfig, *, decoder: DecoderConfig) -> None:
        super().__init__()
        self.config, self.decoder = config, decoder
        self.patch, self.grid = config.patch_size, config.grid
        norm: Any = partial(nn.LayerNorm, eps=config.eps)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        table = sincos_table(config.width, grid=self.grid, prefix=1).float()[None]
        self.pos_embed = nn.Parameter(table, requires_grad=False)
        self.patch_embed = PatchEmbed(config.image_size, config.patch_size, 3, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, mlp_ratio=config.mlp_ratio, qkv_bias=True, norm_layer=norm)
            for _ in range(config.depth)
        )
        self.norm = norm(config.width)
        self._add_decoder(decoder, width=config.width, eps=config.eps, class_token=True)
        self._initialise()
        nn.init.normal_(self.cls_token, std=0.02)

    def encode(self, image: Tensor, masking: Masking) -> Tensor:
        """(B, 1 + K, width): of the class and the patches that are seen."""
        encoded: Tensor = self.norm(self._through_blocks(gathered(self._patches(image), masking.kept)))
        return encoded

    def features(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, width): the normed mean of all patches' tokens (`omlab_deblurmim.vit.pooled`)."""
        return pooled(self._through_blocks(self._patches(image))[:, 1:], eps=self.config.eps)

    def _patches(self, image: Tensor) -> Tensor:
        embedded: Tensor = self.patch_embed(image)
        return embedded + self.pos_embed[:, 1:]

    def _through_blocks(self, patches: Tensor) -> Tensor:
        first = (self.cls_token + self.pos_embed[:, :1]).to(patches.dtype)
        x = torch.cat([first.expand(len(patches), -1, -1), patches], dim=1)
        for block in self.blocks:
            x = block(x)
        return x


class ConvMae(ConvStages, MaskedAutoencoder):
    """The masked autoencoder on convolutional stages, without a class token.

    Their blocks do not look at removed patches, and what the first two stages found of the seen ones is added to the
    tokens at the end.
    """

    _linear_kernel = "patch_embed3.proj.weight"

    def __init__(self, config: ConvConfig, *, decoder: DecoderConfig) -> None:
        super().__init__(config, positions_learn=False)
        self.decoder = decoder
        self.patch, self.grid = config.stride, config.grid
        (width1, width2, width3), (_, patch2, patch3) = config.widths, config.patches
        self.stage1_output_decode = nn.Conv2d(width1, width3, kernel_size=patch2 * patch3, stride=patch2 * patch3)
        self.stage2_output_decode = nn.Conv2d(width2, width3, kernel_size=patch3, stride=patch3)
        self.norm = nn.LayerNorm(width3, eps=config.eps)
        self._add_decoder(decoder, width=width3, eps=config.eps, class_token=False)
        self._initialise()

    def encode(self, image: Tensor, masking: Masking) -> Tensor:
        """(B, K, width): of the patches that are seen."""
        stage1, stage2, tokens = self.stages(image, masking.mask)
        x = self.through_blocks3(gathered(tokens, masking.kept))
        early = self.stage1_output_decode(stage1) + self.stage2_output_decode(stage2)  # (B, width, 14, 14)
        encoded: Tensor = self.norm(x + gathered(early.flatten(2).transpose(1, 2), masking.kept))
        return encoded

"""SAM: image encoder, prompt encoder and mask decoder, with the keys of the published checkpoints.

Kirillov et al., "Segment anything", ICCV 2023. Points are (x, y) and boxes (x0, y0, x1, y1) in pixels of the image that
the network sees, pixel centres whole numbers; images are (B, 3, S, S), rows first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_sam.decoder import MaskDecoder
from omlab_sam.encoder import ImageEncoder
from omlab_sam.parts import ChannelNorm


class Variant(TypedDict):
    """What tells the sizes of SAM's encoder apart."""

    embed_dim: int
    depth: int
    num_heads: int
    global_attn_indexes: tuple[int, ...]


VARIANTS: dict[str, Variant] = {
    "vit_b": Variant(embed_dim=768, depth=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11)),
    "vit_l": Variant(embed_dim=1024, depth=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23)),
    "vit_h": Variant(embed_dim=1280, depth=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31)),
}
"""The published sizes: `Sam(**VARIANTS["vit_l"], image_size=1024)`."""


class RandomPositions(nn.Module):
    """Places (x, y) in [0, 1]^2 as sines and cosines of random frequencies."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.positional_encoding_gaussian_matrix: Tensor
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, places: Tensor) -> Tensor:
        """(..., 2) -> (..., width)."""
        phase = 2 * pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat((phase.sin(), phase.cos()), dim=-1)


class PromptEncoder(nn.Module):
    """Points, boxes and masks as tokens (sparse) and as a grid (dense)."""

    def __init__(self, width: int, *, image_size: int, grid: int) -> None:
        super().__init__()
        self.image_size, self.grid = image_size, grid
        self.pe_layer = RandomPositions(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=2, stride=2),
            ChannelNorm(4),
            nn.GELU(),
            nn.Conv2d(4, 16, kernel_size=2, stride=2),
            ChannelNorm(16),
            nn.GELU(),
            nn.Conv2d(16, width, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def forward(
        self,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode the prompts of B objects.

        Args:
            points: (B, P, 2) pixels x, y.
            labels: (B, P): 1 in the object, 0 outside it, -1 no point.
            boxes: (B, 4) pixels x0, y0, x1, y1.
            masks: (B, 1, 4S, 4S) low-resolution masks, in the form that the weights were trained with: logits for
                SAM, probabilities for SAM-Med2D.

        Returns:
            Sparse (B, T, C), points before corners, and dense (B, C, S, S) embeddings. Without any prompt B is 1.
        """
        if (points is None) != (labels is None):
            raise ValueError("Points and their labels must be given together.")
        tokens = []
        if points is not None and labels is not None:
            tokens.append(self._points(points, labels, pad=boxes is None))
        if boxes is not None:
            tokens.append(self._boxes(boxes))
        count = next((len(given) for given in (points, boxes, masks) if given is not None), 1)
        own = self.no_mask_embed.weight
        sparse = torch.cat(tokens, dim=1) if tokens else own.new_zeros(count, 0, own.shape[1])
        if masks is not None:
            return sparse, self.mask_downscaling(masks)
        return sparse, own.reshape(1, -1, 1, 1).expand(count, -1, self.grid, self.grid)

    def dense_pe(self) -> Tensor:
        """(1, C, S, S): where each place of the image embedding lies."""
        along = (torch.arange(self.grid, device=self.no_mask_embed.weight.device) + 0.5) / self.grid
        row, column = torch.meshgrid(along, along, indexing="ij")
        encoded: Tensor = self.pe_layer(torch.stack((column, row), dim=-1))
        return encoded.movedim(-1, 0)[None]

    def _points(self, points: Tensor, labels: Tensor, *, pad: bool) -> Tensor:
        if pad:  # without boxes there is always one token that is no point
            points = torch.cat((points, points.new_zeros(len(points), 1, 2)), dim=1)
            labels = torch.cat((labels, labels.new_full((len(labels), 1), -1)), dim=1)
        encoded, kind = self._encode(points), labels[..., None]
        encoded = torch.where(kind == -1, self.not_a_point_embed.weight, encoded)
        return encoded + (kind == 0) * self._kind(0) + (kind == 1) * self._kind(1)

    def _boxes(self, boxes: Tensor) -> Tensor:
        return self._encode(torch.unflatten(boxes, -1, (2, 2))) + torch.cat([self._kind(n) for n in (2, 3)])

    def _kind(self, number: int) -> Tensor:
        embedding = self.point_embeddings[number]
        assert isinstance(embedding, nn.Embedding)
        return embedding.weight

    def _encode(self, pixels: Tensor) -> Tensor:
        encoded: Tensor = self.pe_layer((pixels.to(self.no_mask_embed.weight.dtype) + 0.5) / self.image_size)
        return encoded


class Sam(nn.Module):
    """The whole network: encode an image once, then decode it for one set of prompts after another.

    `shape` has the arguments that it was made with, as JSON: `Sam(**sam.shape)` is one of the same form. `own` are the
    names of its parameters: what has another name was put into it since.

    Args:
        image_size: Side S of the square images, a multiple of `patch_size` (twice that with adapters).
        embed_dim: Width of the encoder.
        depth: Blocks of the encoder.
        num_heads: Heads of each.
        global_attn_indexes: The blocks that attend over the whole grid.
        window_size: Side of the windows of the others, in tokens.
        adapters: Whether each block has SAM-Med2D's adapter.
        patch_size: Side of a token, in pixels.
        out_chans: Width of embeddings, prompts and decoder.
        num_multimask_outputs: Masks beside mask 0.
    """

    def __init__(
        self,
        *,
        image_size: int = 1024,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        global_attn_indexes: Sequence[int] = (2, 5, 8, 11),
        window_size: int = 14,
        adapters: bool = False,
        patch_size: int = 16,
        out_chans: int = 256,
        num_multimask_outputs: int = 3,
    ) -> None:
        super().__init__()
        step = patch_size * (2 if adapters else 1)
        if image_size < step or image_size % step:
            raise ValueError(f"The image size {image_size} is not a multiple of {step}.")
        if out_chans % 16:
            raise ValueError(f"The width {out_chans} is not a multiple of 16 (8 heads of half of it).")
        if any(not 0 <= index < depth for index in global_attn_indexes):
            raise ValueError(f"Global blocks {tuple(global_attn_indexes)} must be among the {depth} of the encoder.")
        self.image_size, self.grid, self.adapters = image_size, image_size // patch_size, adapters
        self.shape: dict[str, Any] = {
            "image_size": image_size,
            "embed_dim": embed_dim,
            "depth": depth,
            "num_heads": num_heads,
            "global_attn_indexes": list(global_attn_indexes),
            "window_size": window_size,
            "adapters": adapters,
            "patch_size": patch_size,
            "out_chans": out_chans,
            "num_multimask_outputs": num_multimask_outputs,
        }
        self.image_encoder = ImageEncoder(
            grid=self.grid,
            patch=patch_size,
            dim=embed_dim,
            depth=depth,
            heads=num_heads,
            global_blocks=global_attn_indexes,
            window=window_size,
            out_channels=out_chans,
            adapters=adapters,
        )
        self.prompt_encoder = PromptEncoder(out_chans, image_size=image_size, grid=self.grid)
        self.mask_decoder = MaskDecoder(out_chans, masks=num_multimask_outputs + 1)
        self.own = frozenset(name for name, _ in self.named_parameters())

    def decode(
        self,
        image_embeddings: Tensor,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        multimask: bool,
    ) -> tuple[Tensor, Tensor]:
        """Low-resolution logits (B, 1 or 3, 4S, 4S) and predicted IoUs (B, 1 or 3) of B prompts.

        `image_embeddings` is one image's (1, C, S, S) for all prompts or has one for each; the prompts are those of
        `PromptEncoder.forward`.
        """
        sparse, dense = self.prompt_encoder(points=points, labels=labels, boxes=boxes, masks=masks)
        given: tuple[Tensor, Tensor] = self.mask_decoder(
            image_embeddings, dense_pe=self.prompt_encoder.dense_pe(), sparse=sparse, dense=dense, multimask=multimask
        )
        return given

    def upsample(self, logits: Tensor) -> Tensor:
        """Low-resolution logits (B, N, 4S, 4S) on the image's pixels (B, N, image_size, image_size), bilinear."""
        size = (self.image_size, self.image_size)
        return functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def best_mask(logits: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
    """Of each prompt's masks (B, N, ...) that of the highest predicted IoU (B, N): (B, 1, ...) and (B, 1)."""
    best = ious.argmax(dim=1)
    rows = torch.arange(len(best), device=best.device)
    return logits[rows, best][:, None], ious[rows, best][:, None]


def layers_of(sam: Sam) -> list[list[str]]:
    """Parameter names from input to head: patches and positions, each block, the neck, prompt encoder and decoder."""
    names = [name for name, _ in sam.named_parameters()]
    blocks = [f"image_encoder.blocks.{n}." for n in range(len(sam.image_encoder.blocks))]
    first = [name for name in names if name.startswith(("image_encoder.pos_embed", "image_encoder.patch_embed."))]
    inside = [[name for name in names if name.startswith(block)] for block in blocks]
    neck = [name for name in names if name.startswith("image_encoder.neck.")]
    last = [name for name in names if name.startswith(("prompt_encoder.", "mask_decoder."))]
    return [first, *inside, neck, last]

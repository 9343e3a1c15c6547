"""SAM: image encoder, prompt encoder and mask decoder, with the keys of the published checkpoints.

Kirillov et al., "Segment anything", ICCV 2023. Points are (x, y) and boxes (x0, y0, x1, y1) in pixels of the image that
the network sees, pixel centres whole numbers; images are (B, 3, S, S), rows first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_sam.decoder import MaskDecoder
from omlab_sam.encoder import ImageEncoder
from omlab_sam.prompt_encoder import PromptEncoder


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

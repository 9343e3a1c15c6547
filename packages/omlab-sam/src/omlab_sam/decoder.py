"""SAM's mask decoder: a small transformer between tokens and image, and masks as products with the image's channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omlab_sam.parts import ChannelNorm, Head, TwoWayTransformer


class MaskDecoder(nn.Module):
    """Low-resolution mask logits and predicted IoUs from embeddings, of an image of `axes` axes, 2 or 3.

    What is said of (S, S) below is (S, S, S) of three.
    """

    def __init__(self, dim: int, *, masks: int, axes: int = 2) -> None:
        super().__init__()
        raised = (nn.ConvTranspose2d, nn.ConvTranspose3d)[axes - 2]
        self.transformer = TwoWayTransformer(dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(masks, dim)
        self.output_upscaling = nn.Sequential(
            raised(dim, dim // 4, kernel_size=2, stride=2),
            ChannelNorm(dim // 4),
            nn.GELU(),
            raised(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Head(dim, hidden=dim, out=dim // 8) for _ in range(masks))
        self.iou_prediction_head = Head(dim, hidden=256, out=masks)

    def forward(
        self, image_embeddings: Tensor, *, dense_pe: Tensor, sparse: Tensor, dense: Tensor, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """One mask for each of B prompts (mask 0), or the three of `multimask`; arguments as for `all_masks`.

        Returns:
            Logits (B, 1 or 3, 4S, 4S) and predicted IoUs (B, 1 or 3).
        """
        logits, ious = self.all_masks(image_embeddings, dense_pe=dense_pe, sparse=sparse, dense=dense)
        chosen = slice(1, None) if multimask else slice(0, 1)
        return logits[:, chosen], ious[:, chosen]

    def all_masks(
        self, image_embeddings: Tensor, *, dense_pe: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All masks of B prompts.

        Args:
            image_embeddings: (B or 1, C, S, S): an image's for each prompt, or one image's for all of them.
            dense_pe: (1, C, S, S) where its places lie, `prompt_encoder.dense_pe()`.
            sparse: (B, T, C) tokens of the prompts.
            dense: (B, C, S, S) grid of the prompts.

        Returns:
            Logits (B, masks, 4S, 4S) and predicted IoUs (B, masks); mask 0 is that of one answer, the others are
            those of several.
        """
        count, size = len(sparse), image_embeddings.shape[2:]
        if len(image_embeddings) not in (1, count):
            raise ValueError(
                f"{count} prompts need 1 image embedding or one for each of them, not {len(image_embeddings)}."
            )
        own = torch.cat((self.iou_token.weight, self.mask_tokens.weight))
        tokens = torch.cat((own.expand(count, -1, -1), sparse), dim=1)
        tokens, places = self.transformer(
            tokens,
            (image_embeddings + dense).flatten(2).transpose(1, 2),
            grid=dense_pe.flatten(2).transpose(1, 2).expand(count, -1, -1),
        )
        upscaled = self.output_upscaling(places.transpose(1, 2).unflatten(2, size))
        kernels = torch.stack([head(tokens[:, 1 + n]) for n, head in enumerate(self.output_hypernetworks_mlps)], dim=1)
        return torch.einsum("bmc,bc...->bm...", kernels, upscaled), self.iou_prediction_head(tokens[:, 0])

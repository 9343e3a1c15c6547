"""SAM's mask decoder: a small transformer between tokens and image, and masks as products with the image's channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_sam.encoder import LayerNorm2d, Mlp


class TokenAttention(nn.Module):
    """Multi-head attention with projections to `inner` channels."""

    def __init__(self, dim: int, *, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(self, q: Tensor, *, k: Tensor, v: Tensor) -> Tensor:
        """(B, N, C) attends over keys and values (B, M, C)."""
        q, k, v = (
            proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for proj, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        done: Tensor = self.out_proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return done


class TwoWayLayer(nn.Module):
    """Tokens attend to themselves and to the image, the image to the tokens. The first layer has no position yet."""

    def __init__(self, dim: int, *, heads: int, hidden: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = TokenAttention(dim, heads=heads, inner=dim)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = TokenAttention(dim, heads=heads, inner=dim // 2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, hidden=hidden, relu=True)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = TokenAttention(dim, heads=heads, inner=dim // 2)

    def forward(self, tokens: Tensor, image: Tensor, *, at: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C) with positions `at`, image (B, N, C) with positions `grid`."""
        if self.first:  # neither position nor residual
            tokens = self.self_attn(tokens, k=tokens, v=tokens)
        else:
            tokens = tokens + self.self_attn(tokens + at, k=tokens + at, v=tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + at, k=image + grid, v=image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(image + grid, k=tokens + at, v=tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Two layers and a last look of the tokens at the image."""

    def __init__(self, dim: int, *, heads: int = 8, hidden: int = 2048) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(dim, heads=heads, hidden=hidden, first=n == 0) for n in range(2))
        self.final_attn_token_to_image = TokenAttention(dim, heads=heads, inner=dim // 2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, image: Tensor, *, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C) are their own positions; image (B, N, C) has the positions `grid`."""
        at = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, at=at, grid=grid)
        tokens = tokens + self.final_attn_token_to_image(tokens + at, k=image + grid, v=image)
        return self.norm_final_attn(tokens), image


class Head(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, dim: int, *, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList((nn.Linear(dim, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, out)))

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., out)."""
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        y: Tensor = self.layers[-1](x)
        return y


class MaskDecoder(nn.Module):
    """Low-resolution mask logits and predicted IoUs from embeddings."""

    def __init__(self, dim: int, *, masks: int) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(masks, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
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
        return torch.einsum("bmc,bcij->bmij", kernels, upscaled), self.iou_prediction_head(tokens[:, 0])

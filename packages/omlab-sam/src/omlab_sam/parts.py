"""What SAM's networks have in two dimensions as in three: norms, MLPs, how tokens and image attend, the layers' order.

Module names are those of the published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-6
"""Of the norms of encoder, neck and convolutions; adapters and the decoder's transformer have PyTorch's 1e-5."""


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (B, C, ...), biased variance; SAM calls it LayerNorm2d."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        return functional.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, EPS).movedim(-1, 1)


class Mlp(nn.Module):
    """Two linear layers with exact GELU, or with ReLU, between them."""

    def __init__(self, dim: int, *, hidden: int, relu: bool = False) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden)
        self.lin2 = nn.Linear(hidden, dim)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        x = self.lin1(x)
        y: Tensor = self.lin2(functional.relu(x) if self.relu else functional.gelu(x))
        return y


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


def layers_of(network: nn.Module) -> list[list[str]]:
    """Parameter names from input to head: patches and positions, each block, the neck, prompt encoder and decoder."""
    names = [name for name, _ in network.named_parameters()]
    depth = len(list(network.get_submodule("image_encoder.blocks").children()))
    beginnings = [
        ("image_encoder.pos_embed", "image_encoder.patch_embed."),
        *((f"image_encoder.blocks.{n}.",) for n in range(depth)),
        ("image_encoder.neck.",),
        ("prompt_encoder.", "mask_decoder."),
    ]
    return [[name for name in names if name.startswith(some)] for some in beginnings]

"""SegViT's attention-to-mask head on USFM's encoder: a query for each class attends to the maps, its scores are masks.

Zhang et al., "SegViT: Semantic segmentation with plain vision transformers", NeurIPS 2022, as USFM configures it.
Module names are those of the published code. Shapes: C classes, h x w tokens of a map, D the width of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

NO_OBJECT_WEIGHT = 0.1
"""Of queries whose class an image does not hold, in the loss; the checkpoints keep it in a buffer."""


@dataclass(frozen=True, kw_only=True)
class AtmConfig:
    """The head's hyper-parameters; those that are left out are USFM's.

    Attributes:
        classes: Background included.
        in_channels: Of the maps.
        width: Of the head.
        heads: Of its attentions.
        layers: Decoder layers of a stage.
        stages: Maps that are used, from the coarsest.
        dropout: In training.
    """

    classes: int
    in_channels: int = 768
    width: int = 384
    heads: int = 12
    layers: int = 3
    stages: int = 3
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"A width of {self.width} cannot be shared by {self.heads} heads.")
        if min(self.classes, self.in_channels, self.width, self.heads, self.layers, self.stages) < 1:
            raise ValueError(f"Every size of {self} must be at least 1.")


@dataclass(frozen=True, kw_only=True)
class AtmOutput:
    """What the head gives: for each stage the (B, C, C + 1) scores of queries and the (B, C, h, w) logits of masks.

    The last score is that of "no object". Masks are sums over the stages up to theirs; the last ones have the size of
    the image.
    """

    scores: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]

    @property
    def semantic(self) -> Tensor:
        """(B, C, H, W): how much each pixel is of each class, the sum over queries of class share times mask."""
        shares = self.scores[-1].softmax(dim=-1)[..., :-1]
        return torch.einsum("bqc,bqhw->bchw", shares, self.masks[-1].sigmoid())


class MaskAttention(nn.Module):
    """Cross attention of queries to tokens, with its scores before the softmax, averaged over the heads, as masks.

    There are few queries and many tokens, so keys and values are never made: with q_h = W_q^h x + b_q^h,

        score_h(x, t) = (W_k^h' q_h) . t + q_h . b_k^h
        out_h(x)      = W_v^h (sum_t a_h(x, t) t) + b_v^h sum_t a_h(x, t)

    for tokens t and weights a_h, which costs heads C D instead of D D products a token and is the same but for
    rounding. With as many classes as that is no gain the projections are made.
    """

    def __init__(self, width: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.attn_drop = nn.Dropout(dropout)
        self.proj = nn.Linear(width, width)

    def forward(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, C, D) and masks (B, C, N) for queries (B, C, D) and tokens (B, N, D)."""
        q = self._by_head(self.q(queries)) * self.scale  # (B, heads, C, c)
        folds = self.heads * queries.shape[1] < queries.shape[2]
        found, scores = (self.folded if folds else self.projected)(q, tokens)
        return self.proj(found.transpose(1, 2).flatten(2)), scores.mean(dim=1)

    def projected(self, q: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted values (B, heads, C, c) and scores (B, heads, C, N), by keys and values."""
        k, v = self._by_head(self.k(tokens)), self._by_head(self.v(tokens))
        scores = q @ k.transpose(-1, -2)
        return self.attn_drop(scores.softmax(dim=-1)) @ v, scores

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def folded(self, q: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The same, by tokens alone."""
        batch, heads, classes, _ = q.shape
        by_key, by_value = (layer.weight.view(heads, -1, layer.in_features) for layer in (self.k, self.v))
        key_bias, value_bias = (layer.bias.view(heads, -1) for layer in (self.k, self.v))
        wide = torch.einsum("bhqc,hcd->bhqd", q, by_key).flatten(1, 2)  # (B, heads C, D)
        scores = (wide @ tokens.transpose(1, 2)).view(batch, heads, classes, -1)
        scores = scores + torch.einsum("bhqc,hc->bhq", q, key_bias)[..., None]
        weights = self.attn_drop(scores.softmax(dim=-1))
        sums = (weights.flatten(1, 2) @ tokens).view(batch, heads, classes, -1)  # of tokens, (B, heads, C, D)
        found = torch.einsum("bhqd,hcd->bhqc", sums, by_value)
        return found + weights.sum(dim=-1, keepdim=True) * value_bias[:, None], scores


class DecoderLayer(nn.Module):
    """Self-attention of the queries, attention to the tokens, two linear layers; each added, then normalised."""

    def __init__(self, config: AtmConfig) -> None:
        super().__init__()
        width, dropout = config.width, config.dropout
        self.self_attn = nn.MultiheadAttention(width, config.heads, dropout=dropout, batch_first=True)
        self.multihead_attn = MaskAttention(width, heads=config.heads, dropout=dropout)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, C, D) and masks (B, C, N)."""
        queries = self.norm1(queries + self.dropout(self.self_attn(queries, queries, queries, need_weights=False)[0]))
        found, masks = self.multihead_attn(queries, tokens)
        queries = self.norm2(queries + self.dropout(found))
        found = self.linear2(self.dropout(functional.relu(self.linear1(queries))))
        return self.norm3(queries + self.dropout(found)), masks


class Stage(nn.Module):
    """The decoder layers of one map."""

    def __init__(self, config: AtmConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))

    def forward(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, C, D) and the last layer's masks (B, C, N)."""
        masks = tokens
        for layer in self.layers:
            queries, masks = layer(queries, tokens)
        return queries, masks


class AtmHead(nn.Module):
    """Stages from the coarsest map to the finest, whose queries are carried on and whose masks are summed."""

    def __init__(self, config: AtmConfig) -> None:
        super().__init__()
        self.config = config
        for stage in range(1, config.stages + 1):
            self.add_module(f"input_proj_{stage}", nn.Linear(config.in_channels, config.width))
            self.add_module(f"proj_norm_{stage}", nn.LayerNorm(config.width))
            self.add_module(f"decoder_{stage}", Stage(config))
        self.q = nn.Embedding(config.classes, config.width)
        self.class_embed = nn.Linear(config.width, config.classes + 1)

    def forward(self, maps: Sequence[Tensor], *, size: Sequence[int]) -> AtmOutput:
        """The output for maps (B, in_channels, h, w), finest first, of images of `size` (H, W)."""
        if len(maps) != self.config.stages:
            raise ValueError(f"The head has {self.config.stages} stages and is given {len(maps)} maps.")
        queries = self.q.weight.expand(len(maps[0]), -1, -1)  # (B, C, D)
        scores, masks = [], []
        for stage, one in enumerate(reversed(maps), start=1):
            tokens = self.get_submodule(f"input_proj_{stage}")(one.flatten(2).transpose(1, 2))
            tokens = self.get_submodule(f"proj_norm_{stage}")(tokens)
            queries, found = self.get_submodule(f"decoder_{stage}")(queries, tokens)
            scores.append(self.class_embed(queries))
            masks.append(found.view(*found.shape[:2], *one.shape[2:]))
        finest = [resized(one, masks[-1].shape[2:]) for one in masks]
        sums = [torch.stack(finest[:count]).sum(dim=0) for count in range(1, len(finest) + 1)]
        return AtmOutput(scores=tuple(scores), masks=(*sums[:-1], resized(sums[-1], size)))


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, h, w) on another grid, bilinear."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)

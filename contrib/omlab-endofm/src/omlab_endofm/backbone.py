"""Endo-FM's backbone: a vision transformer whose blocks attend over time, then over space (Wang et al. 2023).

The class token (B, 1, D) and the patch tokens (B, P, T, D) are kept apart: the frames of a patch lie side by side, so
that attention over time needs no regrouping. Divided attention is TimeSformer's (Bertasius et al. 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_endofm.folding import Folded

EPS = 1e-6
SPREAD = 0.02
"""Standard deviation of the initial values of linear layers, tokens and positions."""


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The hyper-parameters of a backbone; left out, those of the published one.

    Attributes:
        size: Side of the frames, in pixels, that the table of positions is for; frames may have other sizes.
        patch: Side of a patch in pixels.
        width: Numbers in a token.
        depth: Blocks.
        heads: Of every attention.
        mlp_ratio: Width of the MLP's hidden layer, in widths.
        frames: That the table of times is for; clips may have any number of frames, one among them.
        drop_path: Stochastic depth of the last block while training; it rises from 0 at the first.
    """

    size: int = 224
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4
    frames: int = 8
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        if self.size % self.patch:
            raise ValueError(f"frames of {self.size} pixels are not whole patches of {self.patch}")
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} is not divided by {self.heads} heads")


class Attention(nn.Module):
    """Attention with a joint projection to queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """Queries, keys and values (..., 3, heads, d) of tokens (..., D)."""
        projected: Tensor = self.qkv(x)
        return projected.view(*x.shape[:-1], 3, self.heads, -1)

    def mix(self, qkv: Tensor) -> Tensor:
        """(N, L, 3, heads, d) -> (N, L, D), in one call without copies, of the values as of queries and keys."""
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def attend(self, qkv: Tensor) -> Tensor:
        """(N, L, 3, heads, d) -> (N, L, D)."""
        joined: Tensor = self.proj(self.mix(qkv))
        return joined


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        found: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return found


class Block(nn.Module):
    """Attention over time, over space, and an MLP, each normed before and added to what comes in."""

    def __init__(self, config: BackboneConfig, *, drop_path: float = 0.0) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(width, config.heads)
        self.temporal_norm1 = nn.LayerNorm(width, eps=EPS)
        self.temporal_attn = Attention(width, config.heads)
        self.temporal_fc = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width, int(config.mlp_ratio * width))
        self.drop_path = drop_path
        self._after_mixing, self._of_one_frame = Folded(), Folded()

    def over_time(self, patches: Tensor) -> Tensor:
        """What a patch's frames tell each other, (B, P, T, D) -> (B P, T, D), before `temporal_fc`."""
        normed = self.temporal_norm1(patches)
        return self.temporal_attn.attend(self.temporal_attn.split(normed).flatten(0, 1))

    def timed(self, patches: Tensor) -> Tensor:
        """Patches with what their other frames told them, (B, P, T, D).

        Where nothing is learnt, the linear layers after the attention are one; of a single frame, which attends to
        itself alone, the values' too.
        """
        layers = self.temporal_attn.qkv, self.temporal_attn.proj, self.temporal_fc
        if torch.is_grad_enabled() or self.training or any(type(layer) is not nn.Linear for layer in layers):
            told = self._dropped(self.over_time(patches)).view_as(patches)
            learnt: Tensor = patches + self.temporal_fc(told)  # what is dropped comes before the layer: its bias stays
            return learnt
        qkv, *after = ((layer.weight, layer.bias) for layer in layers)
        normed = self.temporal_norm1(patches)
        if patches.shape[2] == 1:
            values = (qkv[0][-normed.shape[-1] :], qkv[1][-normed.shape[-1] :])
            return patches + self._of_one_frame(normed, [values, *after])
        mixed = self.temporal_attn.mix(self.temporal_attn.split(normed).flatten(0, 1))
        return patches + self._after_mixing(mixed.view_as(patches), after)

    def over_space(self, token: Tensor, patches: Tensor) -> Tensor:
        """What a frame's tokens tell each other, (B, 1, D) and (B, P, T, D) -> (B T, 1 + P, D)."""
        return self.attn.attend(self._by_frame(token, patches))

    def space_attention(self, token: Tensor, patches: Tensor) -> Tensor:
        """The weights of the attention over space, (B T, heads, 1 + P, 1 + P); rows sum to 1."""
        q, k, _ = (part.transpose(1, 2) for part in self._by_frame(token, patches).unbind(2))
        attention: Tensor = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1)
        return attention

    def _by_frame(self, token: Tensor, patches: Tensor) -> Tensor:
        """(B T, 1 + P, 3, heads, d): the class token is projected once a clip; one copy puts both together."""
        T = patches.shape[2]
        of_token = self.attn.split(self.norm1(token))[:, None].expand(-1, T, -1, -1, -1, -1)
        of_patches = self.attn.split(self.norm1(patches)).transpose(1, 2)
        return torch.cat([of_token, of_patches], dim=2).flatten(0, 1)

    def forward(self, token: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, D), (B, P, T, D) -> the same shapes."""
        B, P, T, D = patches.shape
        timed = self.timed(patches)
        placed = self._dropped(self.over_space(token, timed)).view(B, T, 1 + P, D)
        token = token + placed[:, :, :1].mean(dim=1)
        patches = timed + placed[:, :, 1:].transpose(1, 2)
        kept = self._kept(B, like=patches)
        token = token + kept * self.mlp(self.norm2(token))
        return token, patches + kept[..., None] * self.mlp(self.norm2(patches))

    def _dropped(self, branch: Tensor) -> Tensor:
        """A branch (N, L, D) of which rows are dropped: patches over time, frames over space."""
        return self._kept(len(branch), like=branch) * branch if self.training and self.drop_path else branch

    def _kept(self, count: int, *, like: Tensor) -> Tensor:
        """(N, 1, 1) factors: 0, or what makes up for it."""
        if not (self.training and self.drop_path):
            return like.new_ones(count, 1, 1)
        keep = 1 - self.drop_path
        return like.new_empty(count, 1, 1).bernoulli_(keep) / keep


class PatchEmbedding(nn.Module):
    """Frames cut into patches, each a token."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, stride=config.patch)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, h, w, D)."""
        tokens: Tensor = self.proj(frames)
        return tokens.permute(0, 2, 3, 1)


class Backbone(nn.Module):
    """Tokens, features and maps of clips (B, 3, T, H, W) of whole patches, for any T from 1 on.

    Of one frame attention over time is a linear layer: features of an image are those of a clip with T = 1.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        side = config.size // config.patch
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + side * side, config.width))
        self.time_embed = nn.Parameter(torch.zeros(1, config.frames, config.width))
        self.patch_embed = PatchEmbedding(config)
        self.blocks = blocks_of(config)
        self.norm = nn.LayerNorm(config.width, eps=EPS)

    def embedded(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Class token (B, 1, D) and patch tokens (B, P, T, D) with their places and times: what blocks are given."""
        B, _, T, _, _ = clips.shape
        patches = self.patch_embed(clips.transpose(1, 2).flatten(0, 1))
        h, w = patches.shape[1:3]
        places = resized_places(self.pos_embed[:, 1:], grid=(h, w))
        times = self.time_embed[:, nearest(self.config.frames, T, device=clips.device)]
        by_frame = patches.reshape(B, T, h * w, -1)
        token = (self.cls_token + self.pos_embed[:, :1]).expand(B, -1, -1)
        return token, by_frame.transpose(1, 2) + places[:, :, None] + times[:, None]

    def tokens(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Class token (B, 1, D) and patch tokens (B, P, T, D), normed."""
        token, patches = self.embedded(clips)
        for block in self.blocks:
            token, patches = block(token, patches)
        return self.norm(token), self.norm(patches)

    def forward(self, clips: Tensor) -> Tensor:
        """The features of clips, (B, D): the normed class token."""
        return self.tokens(clips)[0][:, 0]

    def maps(self, clips: Tensor) -> Tensor:
        """The patch tokens as maps, (B, T, D, h, w)."""
        h, w = (side // self.config.patch for side in clips.shape[3:])
        patches = self.tokens(clips)[1]
        B, _, T, D = patches.shape
        return patches.permute(0, 2, 3, 1).reshape(B, T, D, h, w)

    def last_attention(self, clips: Tensor) -> Tensor:
        """The weights of the last block's attention over space, (B T, heads, 1 + P, 1 + P)."""
        token, patches = self.embedded(clips)
        for block in self.blocks[:-1]:
            token, patches = block(token, patches)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        return last.space_attention(token, last.timed(patches))


def blocks_of(config: BackboneConfig) -> nn.ModuleList:
    """The blocks, with stochastic depth that rises from 0."""
    rates = [config.drop_path * number / max(1, config.depth - 1) for number in range(config.depth)]
    return nn.ModuleList(Block(config, drop_path=rate) for rate in rates)


def nearest(there: int, wanted: int, *, device: torch.device | None = None) -> Tensor:
    """Which of the rows of a table stand for each of the wanted ones, as torch's nearest interpolation has it."""
    scale = torch.tensor(there, dtype=torch.float32) / wanted
    return (torch.arange(wanted) * scale).long().clamp(max=there - 1).to(device)


def resized_places(table: Tensor, *, grid: tuple[int, int]) -> Tensor:
    """A square table of places (1, n^2, D) for a grid of patches, (1, h w, D), by the nearest row and column.

    It goes by the shape: upstream leaves any grid of n^2 patches as it is, 7 x 28 for 14 x 14 too.
    """
    side = round(table.shape[1] ** 0.5)
    if grid == (side, side):
        return table
    rows, columns = (nearest(side, count, device=table.device) for count in grid)
    return table.view(1, side, side, -1)[:, rows][:, :, columns].flatten(1, 2)


def initialise(module: nn.Module, blocks: Sequence[nn.Module]) -> None:
    """Upstream's initial values: only the first block of a fresh network looks over time."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=SPREAD)
            nn.init.zeros_(part.bias)
    for block in blocks[1:]:
        assert isinstance(block, Block)
        nn.init.zeros_(block.temporal_fc.weight)
        nn.init.zeros_(block.temporal_fc.bias)
    for name in ("cls_token", "pos_embed"):
        table = getattr(module, name, None)
        if isinstance(table, nn.Parameter):
            nn.init.trunc_normal_(table, std=SPREAD)

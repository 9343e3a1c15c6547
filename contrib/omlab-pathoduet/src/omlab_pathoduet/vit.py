"""PathoDuet's vision transformers: a pretext token stands before the class token and the patches.

Keys and shapes are the published ones. What the pretext token is depends on what is given: learned, or made of a small
reference image (the patch that a region holds, the stain that an image is told in). Hua et al., PathoDuet: Foundation
models for pathological slide analysis of H&E and IHC stains, Medical Image Analysis 97 (2024) 103289, arXiv 2312.09894.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from omlab_pathoduet.positions import PREFIX, sincos_table

Pool = Literal["avg", "token"]
Stem = Literal["patch", "conv"]

CHANNELS = 3
_CLASS_TOKEN = 1
_HEAD_SPREAD = 0.01
_TOKEN_SPREAD = 1e-6


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """The hyper-parameters of a network; left out, those of the published encoders.

    Attributes:
        size: Side of the images in pixels.
        patch: Side of a patch in pixels.
        width: Numbers in a token.
        depth: Blocks.
        heads: Of the attention; 12 in every network of PathoDuet, ViT-S too.
        mlp_ratio: Width of the MLP's hidden layer, in widths.
        stem: One convolution a patch, or four of stride 2 and one of 1 x 1.
        pool: What stands for an image: `avg`, the mean of its patches, normed (the published form; tokens themselves
            are not), or `token`, the class token of normed tokens.
        qkv_bias: Whether queries, keys and values have a bias.
        eps: Of the norms.
        classes: Outputs of the linear head; 0: there is none.
    """

    size: int = 224
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4
    stem: Stem = "patch"
    pool: Pool = "avg"
    qkv_bias: bool = True
    eps: float = 1e-6
    classes: int = 0

    def __post_init__(self) -> None:
        if self.size % self.patch:
            raise ValueError(f"images of {self.size} pixels are not whole patches of {self.patch}")
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} is not divided by {self.heads} heads")
        if self.stem == "conv" and (self.patch != 16 or self.width % 8):
            raise ValueError(f"a convolutional stem has patches of 16 and a width of eighths, not {self}")

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.size // self.patch

    def __str__(self) -> str:
        stem, form = (
            ("convolutions" if self.stem == "conv" else "patches"),
            "average" if self.pool == "avg" else "token",
        )
        return f"{self.width} wide and {self.depth} deep on {stem}, {self.size} px, of the {form} form"


NETWORKS: dict[str, VitConfig] = {
    "vit_base": VitConfig(),
    "vit_small": VitConfig(width=384),
    "vit_conv_base": VitConfig(depth=11, stem="conv"),
    "vit_conv_small": VitConfig(width=384, depth=11, stem="conv"),
}
"""The networks of PathoDuet by its own names; weights are published for the first."""


class PatchEmbed(nn.Module):
    """Images to tokens of patches, row by row: (B, 3, H, W) -> (B, L, D), for any whole number of patches."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.proj: nn.Module
        if config.stem == "patch":
            self.proj = nn.Conv2d(CHANNELS, config.width, config.patch, stride=config.patch)
            return
        widths = [CHANNELS, *(config.width // share for share in (8, 4, 2, 1))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.proj = nn.Sequential(*layers, nn.Conv2d(config.width, config.width, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Raises `ValueError` where a side is not a whole number of patches."""
        if images.shape[-2] % self.patch or images.shape[-1] % self.patch:
            raise ValueError(f"images of {tuple(images.shape[-2:])} pixels are not whole patches of {self.patch}")
        tokens: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return tokens


class PathoVit(nn.Module):
    """An encoder, with a head where it has one.

    Args:
        config: Its hyper-parameters.
        head: What is put on the features in place of the linear layer for `config.classes`.
    """

    def __init__(self, config: VitConfig, *, head: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        D = config.width
        norm: Any = partial(nn.LayerNorm, eps=config.eps)
        self.patch_embed = PatchEmbed(config)
        self.pretext_token = nn.Parameter(torch.zeros(1, 1, D))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, D))
        table = sincos_table(D, grid=config.grid).float()[None]
        self.pos_embed = nn.Parameter(table, requires_grad=False)
        self.blocks = nn.ModuleList(
            Block(D, config.heads, mlp_ratio=config.mlp_ratio, qkv_bias=config.qkv_bias, norm_layer=norm)
            for _ in range(config.depth)
        )
        self.norm = norm(D) if config.pool == "token" else nn.Identity()
        self.fc_norm = norm(D) if config.pool == "avg" else nn.Identity()
        self.head = head or (nn.Linear(D, config.classes) if config.classes else nn.Identity())

    def initialise(self) -> None:
        """Draw initial values as published: Xavier-uniform (q, k and v each by itself), tokens of nearly 0."""
        initialise_blocks(self)
        if isinstance(self.head, nn.Linear):
            nn.init.normal_(self.head.weight, std=_HEAD_SPREAD)
            nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor, reference: Tensor | None = None) -> Tensor:
        """What the head makes of the features, (B, K); the features (B, D) where there is no head."""
        given: Tensor = self.head(self.features(images, reference))
        return given

    def features(self, images: Tensor, reference: Tensor | None = None) -> Tensor:
        """What stands for images (B, 3, S, S), (B, D)."""
        return self.pooled(self.tokens(images, reference))

    def pooled(self, tokens: Tensor) -> Tensor:
        """(B, 2 + L, D) -> (B, D): the normed mean of the patches alone, or the class token."""
        if self.config.pool == "token":
            return tokens[:, _CLASS_TOKEN]
        mean: Tensor = self.fc_norm(tokens[:, PREFIX:].mean(dim=1))
        return mean

    def tokens(self, images: Tensor, reference: Tensor | None = None) -> Tensor:
        """Pretext token, class token and patches after all blocks, (B, 2 + L, D); normed in the token form alone."""
        x = self.embedded(images, reference)
        for block in self.blocks:
            x = block(x)
        normed: Tensor = self.norm(x)
        return normed

    def embedded(self, images: Tensor, reference: Tensor | None = None) -> Tensor:
        """The tokens with their positions, (B, 2 + L, D): what blocks are given.

        Args:
            images: (B, 3, S, S), colours from 0 to 1, not normalised.
            reference: (B, 3, h, w) of whole patches, likewise: what the pretext token is made of; None: it is the
                learned one.
        """
        patches = self.patch_embed(images)
        B = len(patches)
        pretext = self.pretext_token.expand(B, -1, -1) if reference is None else self.pretext_of(reference)
        x = torch.cat([pretext.to(patches.dtype), self.cls_token.to(patches.dtype).expand(B, -1, -1), patches], dim=1)
        return x + self.pos_embed

    def pretext_of(self, reference: Tensor) -> Tensor:
        """The pretext token of a reference image: the mean of its patches' tokens, (B, 3, h, w) -> (B, 1, D)."""
        mean: Tensor = self.patch_embed(reference).mean(dim=1, keepdim=True)
        return mean


def initialise_blocks(network: nn.Module) -> None:
    """Draw the values of tokens, patches and blocks as published; the tables of positions stay.

    Linear layers are Xavier-uniform with a bias of 0, queries, keys and values each by itself; the convolution of
    patches is as the linear layer that it is; a convolutional stem keeps torch's own values.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            if name.endswith("qkv"):
                bound = math.sqrt(6 / (module.in_features + module.out_features // 3))
                nn.init.uniform_(module.weight, -bound, bound)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    projection = network.get_submodule("patch_embed").proj
    if isinstance(projection, nn.Conv2d):
        nn.init.xavier_uniform_(projection.weight.view(len(projection.weight), -1))
        assert projection.bias is not None
        nn.init.zeros_(projection.bias)
    for name, parameter in network.named_parameters(recurse=False):
        if name.endswith("_token"):
            nn.init.normal_(parameter, std=_TOKEN_SPREAD)


def untrained(config: VitConfig, *, seed: int = 0) -> PathoVit:
    """A network in evaluation mode with the published initial values, the same ones for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PathoVit(config)
        network.initialise()
    return network.eval()


def layers_of(names: Sequence[str], *, depth: int) -> list[list[str]]:
    """Names of parameters from input to head: tokens, positions and patches; each block; norms and heads."""
    first = ("cls_token", "pretext_token", "pos_embed", "patch_embed.")
    parts: Sequence[tuple[str, ...]] = (first, *((f"blocks.{n}.",) for n in range(depth)))
    layers = [[name for name in names if name.startswith(prefixes)] for prefixes in parts]
    placed = {name for layer in layers for name in layer}
    return [*layers, [name for name in names if name not in placed]]

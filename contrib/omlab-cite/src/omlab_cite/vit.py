"""CLIP's image tower with visual prompts, under the names that CLIP's and CITE's checkpoints have.

Sources: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021; prompts:
Jia et al., Visual Prompt Tuning, ECCV 2022, in the forms of Zhang et al., CITE, MICCAI 2023 (arXiv 2307.14901).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab.errors import InputError, SettingsError

Mode = Literal["prepend", "add"]
Init = Literal["token", "normal", "uniform", "zero", "kaiming"]
HEAD_WIDTH = 64
NORMAL_DEVIATION = 0.02
UNIFORM_BOUND = 0.08


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """Sizes of a tower; a head of attention has 64 features.

    Attributes:
        size: Side of an image in pixels; no other is taken, for positions are not resized.
        patch: Side of a patch in pixels.
        width: Features of a token.
        depth: Blocks.
        embed: Features of an image.
    """

    size: int = 224
    patch: int = 16
    width: int = 768
    depth: int = 12
    embed: int = 512

    def __post_init__(self) -> None:
        if self.size % self.patch:
            raise SettingsError(f"Images of {self.size} pixels are not made of patches of {self.patch}.")
        if self.width % HEAD_WIDTH:
            raise SettingsError(f"The width is {self.width}, but must be a multiple of {HEAD_WIDTH}.")

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.size // self.patch) ** 2


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """Which prompts a tower has.

    Attributes:
        length: Prompts of a block.
        mode: `prepend`: tokens of their own behind the class token. `add`: added to the patches' tokens, tiled in
            order over as many as whole rounds of prompts cover.
        layers: The first so many blocks have prompts of their own; 1: those of the first go through all (`prepend`).
        init: What they begin as: `token` (the mean token of the first training batch), `normal` (deviation 0.02),
            `uniform` (within 0.08 of 0), `zero`, `kaiming`.
    """

    length: int = 1
    mode: Mode = "prepend"
    layers: int = 1
    init: Init = "token"

    def __post_init__(self) -> None:
        for name, value in (("length", self.length), ("layers", self.layers)):
            if value < 1:
                raise SettingsError(f"{name} of the prompts is {value}, but must be at least 1.")
        for name, word, known in (("mode", self.mode, get_args(Mode)), ("init", self.init, get_args(Init))):
            if word not in known:
                raise SettingsError(f"{name} of the prompts is '{word}', but must be one of {', '.join(known)}.")


class Mlp(nn.Module):
    """Two layers with CLIP's quick GELU, x sigmoid(1.702 x), between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        hidden = self.c_fc(tokens)
        result: Tensor = self.c_proj(hidden * torch.sigmoid(1.702 * hidden))
        return result


class Attention(nn.Module):
    """Self-attention; queries, keys and values are one matrix."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        found = functional.linear(tokens, self.in_proj_weight, self.in_proj_bias)
        parts = found.reshape(*found.shape[:2], 3, -1, HEAD_WIDTH)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # (B, heads, N, 64)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        result: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return result


class Block(nn.Module):
    """Attention and two layers, each behind a norm and beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = Attention(width)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        tokens = tokens + self.attn(self.ln_1(tokens))
        result: Tensor = tokens + self.mlp(self.ln_2(tokens))
        return result


class Transformer(nn.Module):
    """The blocks."""

    def __init__(self, width: int, *, depth: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width) for _ in range(depth))


class Tower(nn.Module):
    """CLIP's image tower up to the blocks, and from there on."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        scale = config.width**-0.5
        self.class_embedding = nn.Parameter(scale * torch.randn(config.width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(1 + config.patches, config.width))
        self.proj = nn.Parameter(scale * torch.randn(config.width, config.embed))
        self.conv1 = nn.Conv2d(3, config.width, kernel_size=config.patch, stride=config.patch, bias=False)
        self.ln_pre = nn.LayerNorm(config.width)
        self.transformer = Transformer(config.width, depth=config.depth)
        self.ln_post = nn.LayerNorm(config.width)

    def tokens(self, image: Tensor) -> Tensor:
        """Images (B, 3, S, S) to tokens (B, 1 + patches, D): the class token, then the patches, normed.

        Raises:
            InputError: The images are of another size.
        """
        size = self.config.size
        if image.shape[-2:] != (size, size):
            raise InputError(f"This network sees {size} x {size} pixels, not {list(image.shape[-2:])}.")
        patches = self.conv1(image).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches.dtype).expand(len(image), 1, -1)
        result: Tensor = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        return result


class PromptedVit(nn.Module):
    """The tower with prompts, or without any.

    Args:
        config: Of the tower.
        prompts: None: there are none.
        projected: Whether features are projected to `config.embed`; else they are the class token's.
        seed: Of prompts that are drawn.
    """

    prompt: Tensor | None
    prompt_started: Tensor | None

    def __init__(
        self, config: VitConfig, *, prompts: PromptConfig | None = None, projected: bool = True, seed: int = 0
    ) -> None:
        super().__init__()
        self.register_parameter("prompt", None)
        self.register_buffer("prompt_started", None)
        self.model = Tower(config)
        self.config, self.projected = config, projected
        self.prompts: PromptConfig | None = None
        if prompts is not None:
            self.take_prompts(prompts, seed=seed)

    @property
    def width(self) -> int:
        """Features of an image."""
        return self.config.embed if self.projected else self.config.width

    def take_prompts(self, prompts: PromptConfig, *, seed: int) -> None:
        """Draw prompts (layers, length, D) and put them in.

        Raises:
            SettingsError: More blocks are to have prompts than there are, or more are to be added than patches.
        """
        if prompts.layers > self.config.depth:
            raise SettingsError(f"{prompts.layers} blocks cannot have prompts: there are {self.config.depth}.")
        if prompts.mode == "add" and prompts.length > self.config.patches:
            raise SettingsError(f"{prompts.length} prompts cannot be added to {self.config.patches} patches.")
        place = self.model.class_embedding
        self.prompt = nn.Parameter(_drawn(prompts, width=self.config.width, seed=seed).to(place))
        self.prompts = prompts

    def start_with_first_batch(self) -> None:
        """Let prompts of init `token` begin at the first training batch; a flag in the state says whether they did."""
        self.register_buffer("prompt_started", torch.zeros((), dtype=torch.bool, device=self.model.proj.device))

    def start_prompts(self, tokens: Tensor) -> None:
        """Add the mean of `tokens` (B, N, D) over images and tokens to every prompt; over all processes' images."""
        assert self.prompt is not None
        mean = tokens.detach().float().mean(dim=(0, 1))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(mean)
            mean /= torch.distributed.get_world_size()
        with torch.no_grad():
            self.prompt += mean.to(self.prompt.dtype)

    def prompted(self, tokens: Tensor, *, layer: int) -> Tensor:
        """Tokens as block `layer` gets them: with its prompts put in, put in place of those before, or added."""
        if self.prompt is None or self.prompts is None or layer >= self.prompts.layers:
            return tokens
        prompt = self.prompt[layer].to(tokens.dtype)
        if self.prompts.mode == "add":
            rounds = self.config.patches // len(prompt)
            end = 1 + rounds * len(prompt)
            return torch.cat([tokens[:, :1], tokens[:, 1:end] + prompt.repeat(rounds, 1), tokens[:, end:]], dim=1)
        patches = tokens[:, 1 if layer == 0 else 1 + len(prompt) :]
        return torch.cat([tokens[:, :1], prompt.expand(len(tokens), -1, -1), patches], dim=1)

    def pooled(self, tokens: Tensor) -> Tensor:
        """What the last block gives, (B, N, D), to features (B, width) of the class token."""
        features: Tensor = self.model.ln_post(tokens[:, 0])
        return features @ self.model.proj if self.projected else features

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 3, S, S) to features (B, width)."""
        tokens = self.model.tokens(image)
        if self.training and self.prompt_started is not None and not self.prompt_started:
            self.start_prompts(tokens)
            self.prompt_started.fill_(True)
        for layer, block in enumerate(self.model.transformer.resblocks):
            tokens = block(self.prompted(tokens, layer=layer))
        return self.pooled(tokens)


def layers_of(names: Sequence[str], *, depth: int, head: Sequence[str]) -> list[list[str]]:
    """Names of parameters from input to head: embeddings, each block, what is behind them, what is trained anew.

    Args:
        names: Of all parameters.
        depth: Blocks.
        head: Beginnings of the names of the head's.
    """
    found: list[list[str]] = [[] for _ in range(depth + 3)]
    for name in names:
        parts = name.split(".")
        if name.startswith(tuple(head)):
            place = depth + 2
        elif "resblocks" in parts:
            place = 1 + int(parts[parts.index("resblocks") + 1])
        else:
            place = depth + 1 if parts[-1] == "proj" or "ln_post" in parts else 0
        found[place].append(name)
    return [layer for layer in found if layer]


def _drawn(prompts: PromptConfig, *, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.zeros(prompts.layers, prompts.length, width)
    match prompts.init:
        case "normal":
            prompt.normal_(0, NORMAL_DEVIATION, generator=generator)
        case "uniform":
            prompt.uniform_(-UNIFORM_BOUND, UNIFORM_BOUND, generator=generator)
        case "kaiming":
            bound = math.sqrt(2 / (prompts.length * width))
            prompt.normal_(0, bound, generator=generator)
    return prompt

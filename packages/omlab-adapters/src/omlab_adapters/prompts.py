"""Visual prompts: learned tokens that a frozen transformer sees beside those of an image.

Source: Jia et al., Visual Prompt Tuning, ECCV 2022; the forms of Wang et al., MedFMC, Scientific Data 10:574 (2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from omlab.errors import SettingsError

PROMPT = "prompt"
"""What the parameter is called, at the end of its name."""
NORMAL_DEVIATION = 0.02
UNIFORM_BOUND = 0.08
INITS = ("normal", "uniform", "zero", "kaiming")
Rows = Sequence[int | None]
"""For each block of a network, the row of the prompts that is put in front of it; None: what came before goes on."""


@dataclass(frozen=True, kw_only=True)
class PromptPlan:
    """Which prompts a network gets.

    Attributes:
        length: Tokens in front of a block.
        deep: Every block has its own; else those of the first go through all.
        init: What they are drawn from: `normal` (deviation 0.02), `uniform` (within 0.08 of 0), `zero` or `kaiming`.
        compat: As the published code has it, faults included: deep prompts come a block late (`rows`), and a Swin
            Transformer mixes the prompts of a batch (`omlab_adapters.prompts_swin`).
    """

    length: int = 1
    deep: bool = False
    init: str = "normal"
    compat: bool = False

    def __post_init__(self) -> None:
        if self.length < 1:
            raise SettingsError(f"length is {self.length}, but there is at least one prompt.")
        if self.init not in INITS:
            raise SettingsError(f"init is '{self.init}', but must be one of {', '.join(INITS)}.")


@runtime_checkable
class TakesPrompts(Protocol):
    """A network that prompts can be put into: those of timm are wrapped in one (`omlab_adapters.prompts_timm`).

    Attributes:
        prompt_blocks: Blocks that can have prompts of their own; 1: the network takes shallow ones alone.
        prompt_width: Features of a token in front of the first block.
    """

    prompt_blocks: int
    prompt_width: int

    def take_prompts(self, prompt: Tensor, *, rows: Rows, compat: bool) -> None:
        """Make `prompt` (rows, length, width) a parameter `prompt` of the network, in front of blocks as `rows` say."""
        ...


def rows(blocks: int, *, deep: bool, compat: bool = False) -> list[int | None]:
    """The row of the prompts in front of each block.

    With `compat`, deep prompts as MedFM's branch master writes them, behind a block in place of in front of it: the
    first row serves two blocks, and the last none.
    """
    if not deep:
        return [0, *[None] * (blocks - 1)]
    return [max(0, block - 1) for block in range(blocks)] if compat else list(range(blocks))


def drawn(count: int, *, length: int, width: int, init: str, seed: int) -> Tensor:
    """Prompts (count, length, width) to begin with. `kaiming`: normal, of deviation sqrt(2 / (length * width))."""
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.zeros(count, length, width)
    match init:
        case "normal":
            prompt.normal_(0, NORMAL_DEVIATION, generator=generator)
        case "uniform":
            prompt.uniform_(-UNIFORM_BOUND, UNIFORM_BOUND, generator=generator)
        case "kaiming":
            torch.nn.init.kaiming_normal_(prompt, generator=generator)
    return prompt


def give_prompts(network: TakesPrompts, plan: PromptPlan, *, seed: int) -> None:
    """Draw the prompts of a plan and put them into a network.

    Raises:
        SettingsError: Deep prompts for a network that takes shallow ones alone.
    """
    if plan.deep and network.prompt_blocks == 1:
        raise SettingsError("This network takes prompts in front of its first block alone: set depth=shallow.")
    chosen = rows(network.prompt_blocks, deep=plan.deep, compat=plan.compat)
    count = network.prompt_blocks if plan.deep else 1
    prompt = drawn(count, length=plan.length, width=network.prompt_width, init=plan.init, seed=seed)
    network.take_prompts(prompt, rows=chosen, compat=plan.compat)


def with_prompts(tokens: Tensor, prompt: Tensor, *, start: int) -> Tensor:
    """Tokens (B, N, D) with prompts (P, D) put in at `start`: (B, N + P, D)."""
    same = prompt.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
    return torch.cat([tokens[:, :start], same, tokens[:, start:]], dim=1)


def without_prompts(tokens: Tensor, *, start: int, length: int) -> Tensor:
    """Tokens (B, N + P, D) without the P = `length` prompts at `start`: (B, N, D)."""
    return torch.cat([tokens[:, :start], tokens[:, start + length :]], dim=1)


def padded_bias(bias: Tensor, *, start: int, length: int) -> Tensor:
    """A bias of attention (..., N, N) with rows and columns of 0 for `length` prompts at `start`."""
    shape = (*bias.shape[:-2], bias.shape[-2] + length, bias.shape[-1] + length)
    places = [place if place < start else place + length for place in range(bias.shape[-1])]
    padded = bias.new_zeros(shape)
    index = torch.tensor(places, device=bias.device)
    padded[..., index[:, None], index] = bias
    return padded

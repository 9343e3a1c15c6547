"""Rotary positions beyond the length that a model of the Llama family was trained with.

static     one larger theta for every length: NTK-aware scaling
dynamic    the same, by the length of the text at hand; short texts are read as in training
linear     positions squeezed into the trained range (transformers')
yarn       high frequencies kept, low ones squeezed (Peng et al. 2023; transformers')
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

Rope = Literal["static", "dynamic", "linear", "yarn"]
Number = TypeVar("Number", float, Tensor)


def ntk_theta(theta: float, *, dim: int, alpha: Number) -> Number:
    """The base of the angles that divides the lowest of `dim / 2` frequencies by alpha and keeps the highest."""
    scaled: Number = theta * alpha ** (dim / (dim - 2))
    return scaled


def dynamic_alpha(length: Tensor, *, trained: int, factor: float) -> Tensor:
    """Alpha for texts of so many tokens: 1 up to the trained length, then growing by `factor` for each such length."""
    return (1 + factor * (length / trained - 1)).clamp(min=1)


def parameters(config: Any, *, rope: Rope, factor: float) -> dict[str, Any]:
    """The rope parameters of transformers for a `LlamaConfig` scaled so; what it had of scaling is replaced.

    There is no static NTK-aware scaling in transformers: it is a larger theta.
    """
    theta = float(config.rope_parameters["rope_theta"])
    if rope == "static":
        return {"rope_type": "default", "rope_theta": ntk_theta(theta, dim=config.head_dim, alpha=factor)}
    scaled = {"rope_type": rope, "rope_theta": theta, "factor": factor}
    return scaled | {"original_max_position_embeddings": config.max_position_embeddings} if rope == "yarn" else scaled


def rotary(config: Any) -> nn.Module:
    """What turns positions into angles by a configuration: transformers', but where that is dynamic."""
    return DynamicRotary(config) if config.rope_parameters["rope_type"] == "dynamic" else LlamaRotaryEmbedding(config)


def scale_rotary(network: Any, *, rope: Rope | Literal["stored"], factor: float) -> None:
    """Scale the rotary positions of a Llama, in place; `stored`: as its configuration says."""
    if rope != "stored":
        network.config.rope_parameters = parameters(network.config, rope=rope, factor=factor)
    network.model.rotary_emb = rotary(network.config).to(network.device)


class DynamicRotary(nn.Module):
    """Dynamic NTK-aware scaling: each text of a batch by its own length so far.

    Cached keys keep the angles that they were given. Transformers' form does the same for a single first text, but
    gives all texts of a batch the angles of the longest, and later texts those of longer ones before them.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.theta, self.dim = float(config.rope_parameters["rope_theta"]), int(config.head_dim)
        self.factor, self.trained = float(config.rope_parameters["factor"]), int(config.max_position_embeddings)

    def base(self, lengths: Tensor) -> Tensor:
        """Theta (B,) for texts of so many tokens (B,)."""
        alpha = dynamic_alpha(lengths, trained=self.trained, factor=self.factor)
        return ntk_theta(self.theta, dim=self.dim, alpha=alpha)

    def frequencies(self, lengths: Tensor) -> Tensor:
        """Radians a position (B, dim / 2) for texts of so many tokens (B,)."""
        powers = torch.arange(0, self.dim, 2, device=lengths.device) / self.dim
        return self.base(lengths)[:, None] ** -powers

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (B, T, dim), of the type of x, for positions (B, T)."""
        frequencies = self.frequencies(position_ids.amax(dim=-1) + 1)
        angles = position_ids[..., None] * frequencies[:, None]
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)

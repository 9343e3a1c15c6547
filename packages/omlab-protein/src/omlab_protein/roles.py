"""What a network must be for its scores and features to be had: `Esm` is one, other packages bring theirs."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from omlab_protein.network import Layout


class Shape(Protocol):
    """A dataclass that says what a network is made of."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def vocabulary(self) -> int:
        """Tokens of `alphabet` that can be put in."""

    @property
    def outputs(self) -> int:
        """Tokens that the head tells apart."""

    @property
    def masks(self) -> bool:
        """Whether there is a mask token."""


class FeatureNetwork(Protocol):
    """Tokens (T,) of sequences that lie one after the other to features (T, width)."""

    @property
    def config(self) -> Shape:
        """What it is made of."""

    @property
    def device(self) -> torch.device:
        """Where it is."""

    def __call__(self, tokens: Tensor, layout: Layout, /) -> Tensor:
        """The features."""


class ResidueNetwork(Protocol):
    """Features, then logits (rows, outputs) of the tokens `rows`, of all where it is None."""

    @property
    def config(self) -> Shape:
        """What it is made of."""

    @property
    def device(self) -> torch.device:
        """Where it is."""

    @property
    def esm(self) -> FeatureNetwork:
        """What the head stands on."""

    def __call__(self, tokens: Tensor, layout: Layout, /, *, rows: Tensor | None = None) -> Tensor:
        """The logits."""

    def to(self, device: str, /) -> Self:
        """Itself, moved."""

    def eval(self) -> Self:
        """Itself, without what is only for training."""

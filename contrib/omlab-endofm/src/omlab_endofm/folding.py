"""Linear layers that follow each other as one: fewer products where nothing is learnt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Affine = tuple[Tensor, Tensor]
"""Weight (out, in) and bias (out) of a linear layer."""


class Folded:
    """The product of linear layers, kept until one of their tensors changes."""

    def __init__(self) -> None:
        self._state: list[tuple[int, int, torch.dtype]] = []
        self._kept: Affine | None = None

    def __call__(self, x: Tensor, layers: Sequence[Affine]) -> Tensor:
        """What the last of the layers gives, (..., in) -> (..., out)."""
        tensors = [tensor for layer in layers for tensor in layer]
        state = [(tensor.data_ptr(), _version(tensor), tensor.dtype) for tensor in tensors]
        if self._kept is None or state != self._state:
            self._kept, self._state = product(layers), state
        return functional.linear(x, *self._kept)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


@torch.no_grad()
def product(layers: Sequence[Affine]) -> Affine:
    """The one layer that does what these do, the first first; in their own precision."""
    weight, bias = layers[0]
    with torch.autocast(weight.device.type, enabled=False):
        for after, shift in layers[1:]:
            weight, bias = after @ weight, after @ bias + shift
    return weight, bias

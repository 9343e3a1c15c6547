"""What an adapted model keeps: the tensors that its training changed, and the way back from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from omlab.roles import Base, Model, Trainable
from omlab.shards import rank
from omlab.weights import read_state_dict, save_state_dict

TENSORS = "tensors.safetensors"


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of `after` that `before` lacks, or has in another shape or with other values; on the CPU."""
    kept = {}
    for name, tensor in after.items():
        value = tensor.detach().cpu()
        known = before.get(name)
        if known is None or known.shape != value.shape or not torch.equal(known.cpu(), value):
            kept[name] = value
    return kept


def new_parameters(before: Mapping[str, Tensor], module: nn.Module) -> set[str]:
    """Names of parameters that retargeting made or drew anew, such as heads, of whatever shape: they always train."""
    return set(changed(before, dict(module.named_parameters())))


def save(tensors: Mapping[str, Tensor], folder: Path) -> Path:
    """Write the tensors to be kept into an adapter's folder; of several processes the first does."""
    path = folder / TENSORS
    if rank() == 0:
        save_state_dict(dict(tensors), path)
    return path


def rebuilt(base: Base, *, config: Mapping[str, Any], tensors: Path, only_changes: bool) -> Model:
    """The model of `config` with the stored tensors; what is not among them is the base's.

    `only_changes` false: all are stored, and the base's own weights need not be on this machine.
    """
    if not only_changes:
        return base.build(config=config, weights=tensors)
    model = base.build(config=config, weights=None)
    module: nn.Module = cast(Trainable, model).module
    module.load_state_dict({**kept_of(base, module), **read_state_dict(tensors)})
    return model


def kept_of(base: Base, module: nn.Module) -> dict[str, Tensor]:
    """The base's own tensors that `module` has in the same shape."""
    own, theirs = module.state_dict(), base.trainable().module.state_dict()
    return {name: tensor for name, tensor in theirs.items() if name in own and own[name].shape == tensor.shape}

"""A module of which each process holds a part (FSDP2): its weights, their gradients and the optimizer's state.

Source: Rajbhandari et al., ZeRO, SC 2020; Zhao et al., PyTorch FSDP, VLDB 2023; `torch.distributed.fsdp.fully_shard`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from omlab.errors import TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]


class Sharded:
    """A twin of a module, parted among the processes; the module itself stays whole, on the CPU.

    A block is made whole on the device while it is computed, forwards and backwards, and no longer.

    Args:
        module: On the CPU; what learns in it is overwritten by `gather`.
        blocks: Names of its parts that are made whole one after the other; what is in none is so all the while.
        accelerator: Of this process.

    Raises:
        TrainingError: There is one process alone, a name is none of the module's, or the gradients are scaled.
    """

    def __init__(self, module: nn.Module, *, blocks: Sequence[str], accelerator: Accelerator) -> None:
        if accelerator.num_processes == 1:
            raise TrainingError(
                "Sharding parts a module among processes, but there is one alone: start it with "
                "torchrun --nproc-per-node N, or leave sharding out."
            )
        if accelerator.scaler is not None:
            raise TrainingError("This GPU has no bfloat16, and weights that are parted are not trained in float16.")
        unknown = sorted(set(blocks) - {name for name, _ in module.named_modules()})
        if unknown:
            raise TrainingError(f"{type(module).__name__} has no part '{unknown[0]}' by which it could be parted.")
        self._whole, self._first = module, accelerator.is_main_process
        self.module = _twin(module)
        _part(self.module, blocks, accelerator)

    def take_over(self, optimizer: torch.optim.Optimizer) -> None:
        """Have an optimizer of the whole module, with its state, work on the parts of this process."""
        parts = dict(self.module.named_parameters(remove_duplicate=False))
        own: dict[Tensor, nn.Parameter] = {whole: parts[name] for name, whole in self._whole.named_parameters()}
        for group in optimizer.param_groups:
            group["params"] = [own[whole] for whole in group["params"]]
        for whole, values in list(optimizer.state.items()):
            del optimizer.state[whole]
            optimizer.state[own[whole]] = {name: part_like(value, own[whole]) for name, value in values.items()}

    def gather(self) -> None:
        """Give the first process's whole module what has been learnt. All processes must call it."""
        frozen = {name for name, parameter in self.module.named_parameters() if not parameter.requires_grad}
        learnt = {name: value for name, value in self.module.state_dict().items() if name not in frozen}
        self._whole.load_state_dict(gathered(learnt, kept=self._first), strict=False)


def gathered(values: Mapping[str, Any], *, kept: bool) -> dict[str, Any]:
    """The values with whole tensors on the CPU instead of parts, where they are `kept`; all processes must call it."""
    found = {}
    for name, value in values.items():
        whole = value.full_tensor() if _is_part(value) else value
        if kept:
            found[name] = whole.cpu() if _is_part(value) else whole
    return found


def part_like(value: Any, other: Any) -> Any:
    """This process's part of the first one's whole tensor, where `other`, of that shape, is parted; else the value.

    All processes must call it.
    """
    if not (_is_part(other) and isinstance(value, Tensor) and value.shape == other.shape):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(other.device), other.device_mesh, other.placements)


def _is_part(value: Any) -> bool:
    """Whether it is a `DTensor`, which not every torch has."""
    return hasattr(value, "full_tensor")


def _twin(module: nn.Module) -> nn.Module:
    """A copy whose parameters are others, of the same values in the same memory: parting gives them memory anew."""
    others: dict[int, Any] = {
        id(one): nn.Parameter(one.detach(), requires_grad=one.requires_grad) for one in module.parameters()
    }
    return copy.deepcopy(module, memo=others)


def _part(module: nn.Module, blocks: Sequence[str], accelerator: Accelerator) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    policy = MixedPrecisionPolicy()
    if accelerator.mixed_precision == "bf16":
        # Autocast alone would keep a cast copy of every weight from the forward to the backward pass.
        policy = MixedPrecisionPolicy(torch.bfloat16, reduce_dtype=torch.float32)
    for name in blocks:
        fully_shard(module.get_submodule(name), mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh)

"""This process among those that train: its device, precision and the others, through accelerate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch

from omlab.errors import TrainingError
from omlab_train.recipe import Optimisation

if TYPE_CHECKING:  # accelerate takes seconds to import: only a training pays for it
    from accelerate import Accelerator  # type: ignore[import-untyped]

PATIENCE = timedelta(hours=6)
"""How long processes wait for the first, which may be validating."""


@contextmanager
def accelerator_for(device: str, how: Optimisation) -> Iterator[Accelerator]:
    """An accelerator for `device`; accelerate's process-wide state is left as it was found.

    Raises:
        TrainingError: The device is not there, or accelerate is set to another one.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState, is_initialized  # type: ignore[import-untyped]

    kind = torch.device(device).type
    if kind == "cuda" and not torch.cuda.is_available():
        raise TrainingError(f"There is no GPU here to train on '{device}': use the device 'cpu'.")
    ours = not is_initialized()
    with torch.cuda.device(device) if kind == "cuda" and ":" in device else nullcontext():
        accelerator = Accelerator(
            cpu=kind == "cpu",
            mixed_precision=mixed_precision(kind, how) if ours else None,
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=how.find_unused_parameters),
                InitProcessGroupKwargs(timeout=PATIENCE),
            ],
        )
        try:
            if accelerator.device.type != kind:
                raise TrainingError(
                    f"Training was asked for on '{device}', but accelerate is set to '{accelerator.device}' "
                    "(ACCELERATE_USE_CPU, or an Accelerator made before)."
                )
            yield accelerator
        finally:
            if ours:
                # The only way to let a later training in this process choose another device or precision.
                AcceleratorState._reset_state(reset_partial_state=True)


def mixed_precision(kind: str, how: Optimisation) -> str:
    """What accelerate calls the precision of the forward pass on a device of `kind`."""
    if how.precision == "float32" or (how.precision == "auto" and kind != "cuda"):
        return "no"
    if how.precision == "bfloat16" or torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    return "fp16"


def said_by_the_first(value: Any, accelerator: Accelerator) -> Any:
    """What the first process gave as `value`, in all of them."""
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]

    return broadcast_object_list([value])[0]

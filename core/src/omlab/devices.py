"""The device that work runs on."""

from __future__ import annotations

import os
from importlib.util import find_spec

from omlab.errors import UsageError


def resolve_device(device: str, *, torch_used: bool = True) -> str:
    """`auto` as `cuda` where there is one, else `cpu`; others checked. Under torchrun `cuda` is this process's own.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        torch_used: Whether what runs there uses torch; if not, `auto` is `cpu` and torch is not imported for it.

    Raises `UsageError` for an unknown device, or `cuda` where there is none.
    """
    if not isinstance(device, str):
        raise UsageError(f"The device is {device!r}, but must be auto, cpu, cuda or cuda:N.")
    has_torch = find_spec("torch") is not None
    if device == "cpu" or (device == "auto" and not (torch_used and has_torch)):
        return "cpu"
    if device != "auto" and device.partition(":")[0] != "cuda":
        raise UsageError(f"There is no device '{device}': use auto, cpu, cuda or cuda:N.")
    if not has_torch:
        raise UsageError(f"The device '{device}' needs torch, which is not installed: use --device cpu or auto.")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto" and not count:
        return "cpu"
    own = os.environ.get("LOCAL_RANK", "")
    if device in ("auto", "cuda") and own.isdigit() and int(own) < count:
        return f"cuda:{own}"
    if device == "auto":
        return "cuda"
    index = device.partition(":")[2] or "0"
    if not index.isdigit() or int(index) >= count:
        found = f"{count} CUDA device{'s' if count != 1 else ''}"
        raise UsageError(f"The device '{device}' is not there: this machine has {found}; use --device cpu or auto.")
    return device


def sort_of(device: str) -> str:
    """`cuda` of `cuda:1`: on which of several alike a run is gone on with makes no difference."""
    return device.partition(":")[0]


def describe_device(device: str) -> str:
    """The device as the run log names it, such as `cuda (NVIDIA H200)`."""
    if device == "cpu":
        return "cpu"
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"

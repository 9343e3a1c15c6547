"""Which form of an operator runs: plain PyTorch or Triton.

`OMLAB_KERNELS` forces one: `torch` (plain), `triton` (on a CUDA device) or `interpret` (Triton's interpreter, on the
CPU, for tests). Left out: Triton for a CUDA tensor where it is installed, plain PyTorch elsewhere.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from functools import cache, wraps
from importlib.util import find_spec
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

Form = Literal["torch", "triton"]
Launch = TypeVar("Launch", bound=Callable[..., Any])


class KernelWarning(UserWarning):
    """An operator runs in a slower form than this machine could run."""


def form_for(tensor: Tensor) -> Form:
    """The form in which an operator on `tensor` runs.

    Raises:
        RuntimeError: `OMLAB_KERNELS` asks for what cannot be had here.
        ValueError: `OMLAB_KERNELS` is none of its values.
    """
    forced = os.environ.get("OMLAB_KERNELS", "")
    if forced not in ("", "torch", "triton", "interpret"):
        raise ValueError(f"OMLAB_KERNELS is {forced!r}; it takes torch, triton or interpret.")
    if forced == "torch" or tensor.dtype == torch.float64:
        return "torch"
    if forced == "interpret":
        _ask_for_the_interpreter()
        return "triton"
    if forced == "triton":
        if not (tensor.is_cuda and has_triton()):
            raise RuntimeError("OMLAB_KERNELS=triton needs a tensor on a CUDA device and the package triton.")
        return "triton"
    if not tensor.is_cuda:
        return "torch"
    if not has_triton():
        _warn_once()
        return "torch"
    return "triton"


def on_its_device(launch: Launch) -> Launch:
    """`launch` with its first argument's CUDA device as the current one: Triton launches there, and nowhere else."""

    @wraps(launch)
    def launched(tensor: Tensor, *arguments: Any, **options: Any) -> Any:
        if not tensor.is_cuda:
            return launch(tensor, *arguments, **options)
        with torch.cuda.device_of(tensor):  # type: ignore[no-untyped-call]
            return launch(tensor, *arguments, **options)

    return launched  # type: ignore[return-value]  # the same signature


def misread(tensor: Tensor) -> bool:
    """Triton's interpreter multiplies the bit patterns of bfloat16 as if they were integers: it gets float32."""
    return tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu"


@cache
def has_triton() -> bool:
    """Whether Triton is installed (it is not imported)."""
    return find_spec("triton") is not None


def _ask_for_the_interpreter() -> None:
    if os.environ.get("TRITON_INTERPRET") == "1":
        return
    if not has_triton():
        raise RuntimeError("OMLAB_KERNELS=interpret needs the package triton: pip install 'omlab-kernels[triton]'.")
    if "triton" in sys.modules:
        raise RuntimeError("Triton was imported before its interpreter was asked for: set TRITON_INTERPRET=1 as well.")
    os.environ["TRITON_INTERPRET"] = "1"


@cache
def _warn_once() -> None:
    warnings.warn(
        "Triton is not installed, so omlab-kernels runs its slower plain form: pip install 'omlab-kernels[triton]'.",
        KernelWarning,
        stacklevel=4,
    )

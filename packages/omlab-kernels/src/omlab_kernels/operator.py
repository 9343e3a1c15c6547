"""Making an operator that autograd and `torch.compile` know, without importing the compiler to run it.

The first call of a `torch.library.custom_op` imports `torch._dynamo`: 150 MB and seconds, for a command that predicts
one image. Operators made here are the same to all of PyTorch (schema, fake kernel, autograd, opcheck).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

Operator = Callable[..., Any]


def operator(name: str, *, mutates: Sequence[str] = ()) -> Callable[[Operator], Operator]:
    """Register the decorated function as `omlab_kernels::name`, with the schema of its annotations.

    It runs on every device; what it returns shares no memory with its arguments. Its fake kernel and its gradient
    are registered beside it with `torch.library.register_fake` and `register_autograd`.

    Args:
        name: Of the operator.
        mutates: The arguments that it writes to.
    """

    def register(function: Operator) -> Operator:
        qualified = f"omlab_kernels::{name}"
        schema = torch.library.infer_schema(function, mutates_args=mutates)
        torch.library.define(qualified, schema)
        torch.library.impl(qualified, "CompositeExplicitAutograd")(function)
        made: Operator = getattr(torch.ops.omlab_kernels, name).default
        return made

    return register

"""Where there is no GPU, Triton's kernels run in its interpreter, which must be asked for before Triton is imported."""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

HAS_GPU = torch.cuda.is_available()
if not HAS_GPU and "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"
INTERPRETS = find_spec("triton") is not None and os.environ.get("TRITON_INTERPRET") == "1"

Drawn = Callable[[str, dict[str, Any]], Tensor]


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs Triton's kernels on the CPU."""
    if not INTERPRETS:
        pytest.skip("Triton's interpreter is for machines without a GPU, with triton installed")
    monkeypatch.setenv("OMLAB_KERNELS", "interpret")


@pytest.fixture(params=["torch", "interpret"])
def each_form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs with the plain form and with Triton's interpreter."""
    if request.param == "interpret" and not INTERPRETS:
        pytest.skip("Triton's interpreter is for machines without a GPU, with triton installed")
    monkeypatch.setenv("OMLAB_KERNELS", request.param)
    return str(request.param)


@pytest.fixture
def gpu() -> torch.device:
    if not HAS_GPU:
        pytest.skip("needs a CUDA device")
    return torch.device("cuda")


@pytest.fixture
def drawn() -> Drawn:
    """The array that the golden files mean by a name and what they say of it."""

    def draw(name: str, spec: dict[str, Any]) -> Tensor:
        digest = hashlib.sha256(f"{spec['salt']}/{name}".encode()).digest()
        raw = np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")).random_raw(math.prod(spec["shape"]))
        uniform = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        if spec["dist"] == "integer":
            values = np.floor(uniform * (spec["high"] - spec["low"])).astype(np.int64) + spec["low"]
        elif spec["dist"] == "uniform":
            values = (spec["low"] + uniform * (spec["high"] - spec["low"])).astype(np.float32)
        else:
            values = ((uniform * 2 - 1) * math.sqrt(3.0)).astype(np.float32)
        return torch.from_numpy(values.reshape(spec["shape"]))

    return draw


@pytest.fixture
def far_apart() -> Callable[[Tensor], Tensor]:
    """A copy of a tensor (1, n, ...) whose last entry along axis 1 lies 2^31 elements beyond the first.

    What lies between is not written to, and so not taken from the machine.
    """

    def spread(tensor: Tensor) -> Tensor:
        count, inner = tensor.shape[1], tensor[0, 0].numel()
        step = 2**31 // (count - 1) + 8
        store = torch.empty((count - 1) * step + inner, dtype=tensor.dtype, device=tensor.device)
        placed = store.as_strided(tensor.shape, (store.numel(), step, *tensor.contiguous().stride()[2:]))
        return placed.copy_(tensor)

    return spread

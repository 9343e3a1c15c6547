"""Where there is no GPU, Triton's kernels run in its interpreter, which must be asked for before Triton is imported."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import pytest
import torch

if not torch.cuda.is_available() and "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"
INTERPRETS = find_spec("triton") is not None and os.environ.get("TRITON_INTERPRET") == "1"


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs Triton's kernels on the CPU."""
    if not INTERPRETS:
        pytest.skip("Triton's interpreter is for machines without a GPU, with triton installed")
    monkeypatch.setenv("OMLAB_KERNELS", "interpret")

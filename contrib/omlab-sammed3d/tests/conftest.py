"""Triton's interpreter must be asked for before Triton is imported; with a GPU the kernels run on it instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from omlab.roles import About, Sample
from omlab_testkit.held import Held

if not torch.cuda.is_available() and "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"
INTERPRETS = find_spec("triton") is not None and os.environ.get("TRITON_INTERPRET") == "1"


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs Triton's kernels on the CPU."""
    if not INTERPRETS:
        pytest.skip("Triton's interpreter is for machines without a GPU, with triton installed")
    monkeypatch.setenv("OMLAB_KERNELS", "interpret")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def held() -> Callable[..., Held]:
    """Makes a data set of samples."""

    def made(*, samples: Sequence[Sample], ignored: Sequence[int] = (), name: str = "held") -> Held:
        about = About(inputs={"volume": "volume"}, target="labelmap", ignored=ignored)
        return Held(samples=samples, says=about, name=name)

    return made

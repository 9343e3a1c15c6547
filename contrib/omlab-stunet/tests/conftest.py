"""Where there is no GPU, Triton's kernels run in its interpreter, which must be asked for before Triton is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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
    """Makes a data set of samples, labelled with an organ and a bone unless told otherwise."""

    def made(
        *,
        samples: Sequence[Sample],
        classes: Mapping[int, str] | None = None,
        facts: Mapping[str, Any] | None = None,
        ignored: Sequence[int] = (),
    ) -> Held:
        about = About(
            inputs={"volume": "volume"},
            target="labelmap",
            classes=classes or {1: "organ", 2: "bone"},
            ignored=ignored,
            facts={"volume": facts} if facts else {},
        )
        return Held(samples=samples, says=about)

    return made

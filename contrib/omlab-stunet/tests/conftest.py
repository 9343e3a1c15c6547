"""Where there is no GPU, Triton's kernels run in its interpreter, which must be asked for before Triton is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from omlab.roles import About, Case, Sample

if not torch.cuda.is_available() and "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"
INTERPRETS = find_spec("triton") is not None and os.environ.get("TRITON_INTERPRET") == "1"


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs Triton's kernels on the CPU."""
    if not INTERPRETS:
        pytest.skip("Triton's interpreter is for machines without a GPU, with triton installed")
    monkeypatch.setenv("OMLAB_KERNELS", "interpret")


@dataclass(frozen=True, kw_only=True)
class HeldCase:
    """A case in memory."""

    id: str
    sample: Sample
    group: str | None = None

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        return {}

    def load(self) -> Sample:
        return self.sample


@dataclass(frozen=True, kw_only=True)
class Held:
    """A data set in memory (`omlab.roles.Dataset`) with one split, `train`."""

    samples: Sequence[Sample]
    classes: Mapping[int, str] = field(default_factory=lambda: {1: "organ", 2: "bone"})
    facts: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=lambda: {"volume": "volume"})
    ignored: Sequence[int] = ()

    def splits(self) -> Sequence[str]:
        return ["train"]

    def prepare(self) -> None:
        pass

    def about(self, split: str) -> About:
        return About(
            inputs=self.kinds,
            target="labelmap",
            classes=self.classes,
            ignored=self.ignored,
            facts={"volume": self.facts} if self.facts else {},
            cases=len(self.samples),
        )

    def digest(self, split: str) -> str:
        return "held"

    def cases(self, split: str) -> Sequence[Case]:
        return [HeldCase(id=sample.id, sample=sample) for sample in self.samples]

    def verify(self) -> Sequence[str]:
        return []


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def held() -> type[Held]:
    return Held

"""A toy plugin of readings, installed as a real distribution in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from omlab_testkit.at_work import installed_toy

TOY = Path(__file__).parent / "toy"
NEEDED = ("adapters", "payloads", "evaluators", "benchmark")


@pytest.fixture
def readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The toy plugin beside adapters, evaluators and shared payloads, and nothing else."""
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with installed_toy(
        TOY,
        package="omlab_readings",
        site=tmp_path / "site",
        beside=("adapters", "payloads", "evaluators", "benchmark"),
    ):
        yield tmp_path

"""A toy plugin of small pictures, installed as a real distribution in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from omlab_testkit.at_work import installed_toy

TOY = Path(__file__).parent / "toy"


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The toy plugin beside the adapters and the shared payloads, and nothing else."""
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with installed_toy(TOY, package="omlab_pictures", site=tmp_path / "site", beside=("adapters", "payloads")):
        yield tmp_path

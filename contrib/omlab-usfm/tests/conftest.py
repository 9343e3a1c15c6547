"""Pictures in memory: discs on noise, with their classes and masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from omlab_image import testing
from omlab_testkit.held import Held


@pytest.fixture
def discs() -> Callable[..., Held]:
    """Eight discs with `target` "classes", "labelmap-2d" or none."""

    def made(target: str = "") -> Held:
        samples, about = testing.discs(8, target=target)
        return Held(samples=samples, says=about)

    return made


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from omlab.roles import About, Sample
from omlab_testkit.held import Held


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def held() -> Callable[..., Held]:
    """Makes a data set of samples."""

    def made(
        *, samples: Sequence[Sample], kind: str = "image", ignored: Sequence[int] = (), name: str = "held"
    ) -> Held:
        target = {"image": "labelmap-2d", "volume": "labelmap"}[kind]
        return Held(samples=samples, says=About(inputs={kind: kind}, target=target, ignored=ignored), name=name)

    return made

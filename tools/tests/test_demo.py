"""`omlab demo`, on phantoms so small and for a training so short that it takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import omlab.api
from omlab_phantom import demo
from omlab_testkit.at_work import omlab_command

pytestmark = pytest.mark.slow

SMALL = {"train": 2, "val": 0, "test": 1, "scale": 0.3}
COARSE = {"mirror": False, "step": 1.0}


def with_settings(job: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
    def run(*arguments: Any, settings: Any = None, **more: Any) -> Any:
        return job(*arguments, settings={**(settings or {}), **fixed}, **more)

    return run


def test_the_demo_goes_from_data_to_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    of_data = {f"data.{name}": value for name, value in SMALL.items()}
    monkeypatch.setattr(omlab.api, "load_dataset", with_settings(omlab.api.load_dataset, **SMALL))
    monkeypatch.setattr(omlab.api, "adapt", with_settings(omlab.api.adapt, **of_data))
    monkeypatch.setattr(omlab.api, "predict", with_settings(omlab.api.predict, **COARSE))
    monkeypatch.setattr(omlab.api, "evaluate", with_settings(omlab.api.evaluate, **of_data))
    monkeypatch.setattr(
        demo, "TRAINING", demo.TRAINING | {"epochs": 1, "steps_per_epoch": 1, "patch_size": [32, 32, 32]}
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / ".cache"))
    status, out, err = omlab_command(monkeypatch, capfd)("demo")
    assert status == 0, err
    assert [line.split()[0] for line in err.splitlines() if line[:4] in ("1/4 ", "2/4 ", "3/4 ", "4/4 ")] == [
        "1/4",
        "2/4",
        "3/4",
        "4/4",
    ]
    assert "liver" in out
    assert "open omlab-demo/report/report.html" in err
    assert (tmp_path / "omlab-demo" / "report" / "report.html").is_file()

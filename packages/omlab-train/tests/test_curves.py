"""Pictures of curves, and scalars for TensorBoard."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from omlab_train_toys import EPOCHS, STEPS, Regression

from omlab.errors import MissingDependencyError, TrainingError
from omlab_train import fit
from omlab_train.curves import curves_png

HISTORY = [
    {"epoch": 1, "loss": 1.0, "learning_rate": 0.1, "seconds": 2.0, "dice": 0.2, "val_loss": 1.5},
    {"epoch": 2, "loss": 0.5, "learning_rate": 0.05, "seconds": 2.0, "dice": 0.4},
    {"epoch": 3, "loss": 0.4, "learning_rate": 0.02, "seconds": 2.0, "dice": 0.5, "val_loss": 1.2},
]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(matplotlib.image.imread(io.BytesIO(png), format="png"))


def test_each_kind_of_figure_has_its_panel() -> None:
    tall = pixels(curves_png(HISTORY, title="costs $5 and $6"))
    short = pixels(curves_png([{"epoch": 1, "loss": 1.0}]))
    assert tall.shape[0] > 2 * short.shape[0]
    assert tall.shape[1] == short.shape[1]
    other = pixels(curves_png([{**row, "loss": 2.0} for row in HISTORY], title="costs $5 and $6"))
    assert not np.array_equal(tall, other)


def test_nothing_to_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match="no epoch"):
        curves_png([])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"install omlab-train\[pictures\]"):
        curves_png(HISTORY)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard", "ignore::DeprecationWarning:google")
def test_scalars_are_written_where_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(Regression(), folder=tmp_path / "told", device="cpu", seed=0, tensorboard=tmp_path / "a")
    monkeypatch.setenv("OMLAB_TENSORBOARD", str(tmp_path / "b"))
    fit(Regression(), folder=tmp_path / "set", device="cpu", seed=0)
    for folder in (tmp_path / "a", tmp_path / "b"):
        (run,) = folder.iterdir()
        events = EventAccumulator(str(run))
        events.Reload()
        assert set(events.Tags()["scalars"]) == {"loss", "rmse", "learning_rate"}
        assert [event.step for event in events.Scalars("loss")] == list(range(1, STEPS * EPOCHS + 1))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"install omlab-train\[tensorboard\], or unset OMLAB_TENSORBOARD"):
        fit(Regression(), folder=tmp_path / "absent", device="cpu", seed=0)

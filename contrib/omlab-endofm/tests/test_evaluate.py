"""From a data set as published to a report: each of the three tasks, from a model and from what it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

import omlab
from omlab_testkit.parity import load_file

TINY = load_file(Path(__file__).with_name("tiny_data.py"))

pytestmark = pytest.mark.filterwarnings("ignore:The weights of:omlab.errors.OmlabWarning")


@pytest.mark.parametrize(
    ("model", "data", "settings", "figures"),
    [
        pytest.param("endofm-polypdiag-tiny", "polypdiag", {}, {"accuracy", "auroc"}, marks=pytest.mark.slow),
        ("endofm-segment-tiny", "cvc", {"frames": 2}, {"dice", "frame_dice"}),
        ("endofm-detect-tiny", "kumc", {"short_side": 48, "least_score": 0.54}, {"ap", "f1", "frame_presence_f1"}),
    ],
)
def test_a_task_is_judged_from_the_model_and_from_its_files(
    tmp_path: Path, model: str, data: str, settings: dict[str, float], figures: set[str]
) -> None:
    root = TINY.WRITERS[data](tmp_path / "data")
    for_model = {f"model.{name}": value for name, value in settings.items()}
    judged = omlab.evaluate(model, data, root=root, output=tmp_path / "judged", settings={"bootstrap": 20, **for_model})
    assert judged.report is not None
    assert figures <= {metric.name for metric in judged.report.metrics}
    assert (tmp_path / "judged" / "report.html").is_file()
    omlab.predict(model, data=data, split="test", root=root, output=tmp_path / "out", settings=settings)
    again = omlab.evaluate(
        None, data, predictions=tmp_path / "out", root=root, output=tmp_path / "again", settings={"bootstrap": 20}
    )
    assert again.report is not None
    wanted = {(metric.name, metric.label): metric.value for metric in judged.report.metrics}
    assert {(m.name, m.label): m.value for m in again.report.metrics} == pytest.approx(wanted, abs=1e-6, nan_ok=True)

"""Boards of a toy data set, made as a user makes them."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from omlab.errors import OmlabError, SettingsError, UnknownNameError, UsageError
from omlab_benchmark import benchmark, check_claims
from omlab_benchmark.results import read_rows
from omlab_testkit.at_work import omlab_command

ASKED: dict[str, Any] = {
    "models": ["sharp.untrained", "dull.untrained"],
    "data": "readings",
    "adapters": ["linear-probe", "nearest-centroid"],
    "shots": [1, 4],
    "seeds": 3,
    "rounds": 100,
    "device": "cpu",
}


def made(**more: Any) -> Any:
    asked = {"output": "board", **ASKED, **more}
    return benchmark(asked.pop("models"), asked.pop("data"), **asked)


def calls() -> Any:
    import omlab_readings.model as model

    return model.CALLS


def test_who_sees_is_ahead_and_features_are_computed_once(readings: Path) -> None:
    outcome = made()
    found = outcome.report.details["standings"]
    assert [(row["model"], row["shots"]) for row in found] == [
        ("sharp.untrained", 1), ("sharp.untrained", 1), ("dull.untrained", 1), ("dull.untrained", 1),
        ("sharp.untrained", 4), ("sharp.untrained", 4), ("dull.untrained", 4), ("dull.untrained", 4),
    ]  # fmt: skip
    sharp = [row for row in found if row["model"] == "sharp.untrained" and row["shots"] == 4]
    assert {row["rank"] for row in found if row["model"] == "dull.untrained" and row["shots"] == 4} == {3}
    assert all(row["figures"]["auroc"]["value"] > 0.9 for row in sharp)
    assert all(row["figures"]["auroc"]["low"] <= row["figures"]["auroc"]["value"] for row in found)
    # 30 cases of the test split and at most 60 of the other, whatever the number of adapters, shots and seeds
    assert calls()["sharp"] <= 90
    assert calls()["dull"] <= 90


def test_what_it_leaves(readings: Path) -> None:
    place = made(adapters=["nearest-centroid"]).place
    lines = list(csv.DictReader((place / "leaderboard.csv").read_text().splitlines()))
    assert [(line["shots"], line["rank"], line["is_best"]) for line in lines[:2]] == [
        ("1", "1", "True"),
        ("1", "2", "False"),
    ]
    seeds = list(csv.DictReader((place / "seeds.csv").read_text().splitlines()))
    assert len(seeds) == 2 * 2 * 3
    mean = sum(float(row["auroc"]) for row in seeds if row["shots"] == "4" and row["model"] == "sharp.untrained") / 3
    assert mean == pytest.approx(float(next(r["auroc"] for r in lines if r["shots"] == "4" and r["rank"] == "1")))
    hub = yaml.safe_load((place / "eval_results" / "sharp.untrained.yaml").read_text())
    assert hub[0]["dataset"]["task_id"] == "1-shot"
    files = sorted(path.name for path in (place / "results").rglob("*.gz"))
    assert len(files) == 12
    rows = read_rows(next((place / "results").rglob("4-shot-seed-0.jsonl.gz")))
    assert len(rows) == 30
    assert "Learning curves" in (place / "report.html").read_text()


def headlines(page: str) -> list[str]:
    return [html.unescape(note) for note in re.findall(r'<span class="note">(.*?)</span>', page)]


def test_the_headline_says_what_the_table_says(readings: Path) -> None:
    outcome = made()
    page = html.unescape((outcome.place / "report.html").read_text())
    found = outcome.report.details["standings"]
    for note, shots in zip(headlines(page), (1, 4), strict=True):
        top, *others = (row for row in found if row["shots"] == shots)
        assert note.startswith(f"{top['model']} + {top['adapter']}: ")
        shared = [f"{row['model']} + {row['adapter']}" for row in others if row["rank"] == top["rank"]]
        assert ("certainly the best" in note) == top["is_best"] == (not shared)
        assert all(name in note for name in shared)
    assert page.index("'sharp.untrained' are untrained") < page.index('class="key-figures"')
    alone = made(models=["sharp.untrained"], adapters=["nearest-centroid"], shots=[1], output="alone").place
    assert headlines((alone / "report.html").read_text()) == ["sharp.untrained + nearest-centroid: the only entry"]


def test_started_again_nothing_is_done_and_a_lost_result_is_made_to_the_byte(readings: Path) -> None:
    place = made().place
    names = ("leaderboard.csv", "seeds.csv", "report.json")
    before = {name: (place / name).read_bytes() for name in names}
    count = dict(calls())
    assert made().was_complete
    lost = next((place / "results").rglob("4-shot-seed-1.jsonl.gz"))
    content = lost.read_bytes()
    lost.unlink()
    (place / "report.json").unlink()
    assert not made().was_complete
    assert lost.read_bytes() == content
    assert {name: (place / name).read_bytes() for name in names} == before
    assert dict(calls()) == count, "the features were there"


def test_an_adapter_that_trains_is_a_run_each(readings: Path) -> None:
    outcome = made(models=["sharp.untrained"], adapters=["voter", "knn"], shots=[2, 0], seeds=2)
    assert calls()["voter"] == 4
    found = outcome.report.details["standings"]
    assert [(row["adapter"], row["rank"]) for row in found if row["shots"] == 0] == [("knn", 1), ("voter", 2)]
    assert found[-1]["figures"]["auroc"]["value"] == pytest.approx(0.5)
    assert not list(outcome.place.rglob("adapted.json")), "adapted models are not kept"


def test_shards_make_the_same_board(readings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(output="whole").place
    for part in ("0/2", "1/2"):
        monkeypatch.setenv("OMLAB_SHARD", part)
        outcome = made(output="parts")
    assert outcome.is_whole
    for name in ("leaderboard.csv", "seeds.csv"):
        assert (outcome.place / name).read_bytes() == (whole / name).read_bytes()


def test_a_cell_without_a_result_is_noted(readings: Path) -> None:
    outcome = made(models=["sharp.untrained"], adapters=["knn"], shots=[1, 4], settings={"knn.neighbours": 1})
    assert {row["shots"] for row in outcome.report.details["standings"]} == {1, 4}
    with pytest.raises(OmlabError, match="99 shots were asked for"):
        made(models=["sharp.untrained"], adapters=["voter"], shots=[99], output="none")


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"models": ["shrp"]}, UnknownNameError, "did you mean 'sharp'"),
        ({"models": ["sharp", "sharp"]}, UsageError, "The model 'sharp' is there twice"),
        ({"models": []}, UsageError, "Name at least one --model"),
        ({"adapters": ["linear-prob"]}, UnknownNameError, "did you mean 'linear-probe'"),
        ({"adapters": ["voter"]}, UsageError, "of which 'dull.untrained' has none"),
        ({"shots": [-1]}, UsageError, "--shots is different numbers"),
        ({"seeds": 0}, UsageError, "--seeds is at least 1"),
        ({"split": "train"}, UsageError, "measure on another one"),
        ({"split": "tests"}, UsageError, "did you mean 'test'"),
        ({"metric": "aurok"}, UsageError, "did you mean 'auroc'"),
        ({"settings": {"strengthx": 1}}, SettingsError, "did you mean 'strength'"),
        ({"adapters": ["knn", "nearest-centroid"], "settings": {"temperature": 1}}, SettingsError, "a setting of both"),
        ({"settings": {"model.blurx": 1}}, UsageError, "did you mean 'blur'"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    readings: Path, wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        made(**wrong)


def test_claims_are_repeated(readings: Path) -> None:
    one, other = check_claims("claimer", "readings", output="claims", device="cpu")
    assert (one.claim.metric, one.holds) == ("accuracy", True)
    assert (other.claim.metric, other.holds) == ("auroc", False)
    with pytest.raises(UsageError, match="no published figure on 'readings' in its card, but on nothing"):
        check_claims("dull.untrained", "readings", output="claims", device="cpu")


def test_the_command(readings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = omlab_command(monkeypatch, capsys)
    words = "benchmark --data readings --model sharp.untrained --adapter knn"
    status, out, _ = run(*f"{words} --shots 1,all --seeds 2 --rounds 50 -o b --device cpu".split())
    assert status == 0
    assert "1-shot" in out
    assert "sharp.untrained" in out
    assert json.loads((readings / "b" / "report.json").read_text())["schema"] == "omlab-benchmark/1"
    status, _, err = run(*words.split(), "--shots", "few")
    assert status == 2
    assert "must be numbers such as 1,5,10" in err
    status, out, _ = run(*["claims", "claimer", "--data", "readings", "--device", "cpu"])
    assert status == 1
    assert "accuracy: published 0.5 (within 0.5), here" in out


@pytest.mark.slow
def test_a_large_board_computes_the_features_of_each_model_once(readings: Path) -> None:
    models = ["sharp.untrained", "blurred.untrained", "dull.untrained"]
    adapters = ["linear-probe", "nearest-centroid", "knn"]
    outcome = made(models=models, data="findings", adapters=adapters, shots=[1, 5, 10], seeds=5)
    found = outcome.report.details["standings"]
    assert len(found) == 27
    assert all(len(row["by_seed"]) == 5 for row in found)
    assert all(0 < calls()[name] <= 1000 for name in ("sharp", "blurred", "dull"))
    best = [row for row in found if row["shots"] == 10 and row["rank"] == 1]
    assert {row["model"] for row in best} == {"sharp.untrained"}

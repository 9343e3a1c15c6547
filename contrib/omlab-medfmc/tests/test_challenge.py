"""From a few images to a submission and a ranking: adapt, predict, submit, rank, as the commands do it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import tiny
from click.testing import CliRunner

from omlab.cli.app import build
from omlab.errors import InputError, OmlabWarning, UsageError
from omlab.jobs.adapt import adapt
from omlab.jobs.verbs import apply_verb
from omlab_medfmc.metrics import challenge_figures
from omlab_medfmc.ranking import ranking, read_board, read_table, write_standings
from omlab_medfmc.sets import CHALLENGE, SETS, SHOTS
from omlab_medfmc.submission import Choice, said_by, submission, write_zip

FAST: dict[str, Any] = {"epochs": 1, "model.size": 32}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny copies of two sets, a model of 1 shot of each, and what it says of their images."""
    root = tmp_path_factory.mktemp("medfmc")
    for name in ("endo", "colon"):
        tiny.baseline(root, name)
        settings = {**FAST, "data.shots": 1, "data.disjoint": True, "multi_label": name == "endo"}
        data, model = f"medfmc-{name}:{root}", root / f"model-{name}"
        adapt("medfmc-vit-tiny", data, adapter="vpt", recipe="classification", output=model, settings=settings)
        for split in ("unlabelled", "test"):
            apply_verb("predict", model, data=data, split=split, output=root / f"{name}-{split}")
    return root


def test_a_submission(place: Path, tmp_path: Path) -> None:
    given = [f"endo={place / 'endo-unlabelled'}", f"colon-1={place / 'colon-unlabelled'}"]
    with pytest.warns(OmlabWarning, match=r"7 of the 9 files are not there.*: chest-1, chest-5, chest-10, colon-5"):
        files = submission(given, root=None)
    assert list(files) == ["colon_1-shot_submission.csv", "endo_1-shot_submission.csv"]
    write_zip(files, tmp_path / "one.zip")
    write_zip(files, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with ZipFile(tmp_path / "one.zip") as archive:
        text = archive.read("endo_1-shot_submission.csv").decode()
    rows = [line.split(",") for line in text.splitlines()]
    assert [row[0] for row in rows] == [name for name, _ in tiny.parts(SETS["endo"])["rest"]]
    assert all(len(row) == 5 and len(row[1].partition(".")[2]) == 8 for row in rows)
    colon = [line.rsplit(",", 2) for line in files["colon_1-shot_submission.csv"].splitlines()]
    assert all(float(row[1]) + float(row[2]) == pytest.approx(1, abs=1e-6) for row in colon)


def test_a_folder_of_runs(place: Path) -> None:
    assert set(said_by([str(place)])) == {("endo", 1), ("colon", 1)}
    with pytest.raises(UsageError, match=r"are both endo of 1 shots: name one, endo-1=RUN"):
        said_by([f"endo-1={place / 'endo-unlabelled'}", str(place)])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("endo-7={endo}", UsageError, "not endo of 7"),
        ("retino-1={endo}", UsageError, "is of endo, not of retino"),
        ("=x", UsageError, "names no set and shots"),
        ("ends-1={endo}", UsageError, "did you mean 'endo'"),
        ("endo-1={place}", InputError, "not the folder of a finished run"),
        ("endo-1={test}", InputError, "no result for 24 of the 24 images"),
        ("{place}/data", InputError, "holds no finished run"),
    ],
)
def test_what_is_no_submission(place: Path, given: str, error: type[Exception], message: str) -> None:
    words = given.format(endo=place / "endo-unlabelled", place=place, test=place / "endo-test")
    with pytest.raises(error, match=message):
        submission([words], root=None)


@pytest.fixture(scope="module")
def board(place: Path) -> Path:
    """Two entries on ColonPath, which learn from 1 case of each class, twice."""
    from omlab_benchmark import benchmark

    made = benchmark(
        ["medfmc-vit-tiny"],
        f"medfmc-colon:{place}",
        adapters=["nearest-centroid", "knn"],
        shots=[1],
        seeds=2,
        rounds=10,
        output=place / "board",
        settings={"model.size": 32},
    )
    return made.place


def test_a_board_is_submitted_with_a_warning(place: Path, board: Path) -> None:
    with pytest.raises(UsageError, match=r"has 2 entries: name one with --entry, such as medfmc-vit-tiny/knn, "):
        submission([str(board)], root=None)
    with pytest.warns(OmlabWarning) as warned:
        files = submission([str(board)], root=None, choice=Choice(entry="medfmc-vit-tiny/knn", seed=1))
    assert "measured the split 'test', whose labels are known" in str(warned[0].message)
    (text,) = files.values()
    assert [line.rsplit(",", 2)[0] for line in text.splitlines()] == [
        name for name, _ in tiny.parts(SETS["colon"])["test"]
    ]


def test_a_board_is_ranked(board: Path, place: Path) -> None:
    rows = read_board(board, published=True)
    assert [(row.model, row.set, row.shots, row.exp) for row in rows] == [
        (f"medfmc-vit-tiny/{adapter}", "colon", 1, f"seed {seed}")
        for adapter in ("knn", "nearest-centroid")
        for seed in (0, 1)
    ]
    assert all(0 <= value <= 100 for row in rows for value in row.figures.values() if value is not None)
    assert [one.rank for one in ranking(rows)] == [None, None]  # one set alone is no ranking
    with pytest.raises(InputError, match="not the folder of a finished 'omlab benchmark'"):
        read_board(place / "endo-test", published=True)


def test_lists_that_are_gone_are_asked_for(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name their place with --data"):
        submission([f"endo-1={place / 'endo-unlabelled'}"], root=tmp_path)


def table(path: Path, rows: list[list[Any]], *, figures: bool = True) -> Path:
    heading = ["model", "set", "shots", "exp", *(["mAP", "accuracy", "AUC"] if figures else ["run"])]
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([heading, *rows])
    return path


def whole(model: str, value: float) -> list[list[Any]]:
    return [
        [model, name, shots, exp, value + exp, value + exp, value - exp]
        for name in CHALLENGE
        for shots in SHOTS
        for exp in (1, 2, 3)
    ]


def test_ranks_are_shared_and_need_everything(tmp_path: Path) -> None:
    rows = [*whole("b", 50), *whole("c", 70), *whole("a", 50), *whole("d", 90)[:-3]]
    found = ranking(read_table(table(tmp_path / "t.csv", rows), root=None, published=True))
    assert [(one.model, one.rank, one.figure) for one in found] == [
        ("c", 1, pytest.approx(70)),
        ("a", 2, pytest.approx(50)),
        ("b", 2, pytest.approx(50)),
        ("d", None, None),
    ]
    cell = found[0].cells["endo", 5, "mAP"]
    assert (cell.mean, cell.runs) == (pytest.approx(72), 3)
    assert cell.deviation == pytest.approx((2 / 3) ** 0.5)
    write_standings(found, tmp_path / "standings.csv")
    written = list(csv.DictReader((tmp_path / "standings.csv").read_text().splitlines()))
    assert written[0]["model"] == "c"
    assert float(written[0]["mean"]) == pytest.approx(70)
    assert len(written) == 3 * 19 + 17


def test_runs_are_judged(place: Path) -> None:
    rows = [["tiny", name, 1, 1, f"{name}-test"] for name in ("endo", "colon")]
    found = read_table(table(place / "runs.csv", rows, figures=False), root=place, published=False)
    assert [set(row.figures) for row in found] == [{"mAP", "AUC"}, {"accuracy", "AUC"}]
    assert all(0 <= value <= 100 for row in found for value in row.figures.values() if value is not None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["a", "chest", 1, 1, "x", "", 50]], "row 2: mAP is 'x'"),
        ([["a", "chest", "one", 1, 1, 1, 1]], "'one' is no number of shots"),
        ([["a", "chest", 1, 1, 1, 1, 1]] * 2, "has a on chest with 1 shots, exp 1 twice"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, rows: list[list[Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_table(table(tmp_path / "t.csv", rows), root=None, published=True)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="wanted are model, set"):
        read_table(tmp_path / "t.csv", root=None, published=True)


def test_the_commands(place: Path, tmp_path: Path) -> None:
    def call(*words: str) -> str:
        done = CliRunner().invoke(build(), ["medfmc", *words])
        assert done.exit_code == 0, done.output
        return done.output

    said = call("submit", f"endo-1={place / 'endo-unlabelled'}", "-o", str(tmp_path / "s.zip"))
    assert "endo_1-shot_submission.csv: 24 images" in said
    assert (tmp_path / "s.zip").is_file()
    said = call("lists", str(place))
    assert "colon_1-shot_val_exp1: 22 lines, by class [10, 12], 2 of 4 training images in it, sha256" in said
    assert "trainval: 48 lines, published 929, by class" in said
    said = call("rank", str(table(tmp_path / "t.csv", whole("mine", 60))), "-o", str(tmp_path / "out.csv"))
    assert "1\tmine\t60.00" in said
    assert (tmp_path / "out.csv").is_file()


def test_figures_of_a_set() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert challenge_figures(scores, np.array([0, 1, 1]), multi_label=False, published=True) == {
        "accuracy": pytest.approx(200 / 3),
        "AUC": pytest.approx(100),
    }
    labels = np.array([[1, 0], [0, 0], [1, 0]])
    for published in (False, True):  # the second class has no case: its mean precision is 0, its area that of the first
        several = challenge_figures(scores, labels, multi_label=True, published=published)
        assert several == {"mAP": pytest.approx(50), "AUC": pytest.approx(100)}

"""Results of many cases in one file, and files of many cases as inputs, through the jobs of core."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import omlab
from omlab.api import apply_verb
from omlab.formats import implementation, read_format
from omlab.plugins import installed
from omlab.registry import registry
from omlab_payloads.embeddings import open_embeddings
from omlab_payloads.scores import Scores

TOY = Path(__file__).parent / "toy"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The toy plugin as an installed distribution."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(TOY, site / "omlab_rater")
    info = site / "omlab_rater-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: omlab-rater\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[omlab]\nrater = omlab_rater.plugin\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        _forget_plugins()
        yield
    _forget_plugins()


def _forget_plugins():
    installed.cache_clear()
    registry.cache_clear()


@pytest.fixture(autouse=True)
def _here(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    Path("in.csv").write_text("id,x\nb,2\na,1\nc,-1\nd,4\n")


def test_embeddings_of_a_table_are_one_file_that_other_verbs_read():
    outcome = apply_verb("embed", "rater", "in.csv", output="features")
    assert outcome.cases["c"].reason == "x is negative."
    ids, matrix = open_embeddings("features/embed.safetensors")
    assert ids == ("a", "b", "d")
    np.testing.assert_array_equal(matrix, [[1, 2], [2, 4], [4, 8]])
    outcome = apply_verb("score", "rater", "features/embed.safetensors", output="scores")
    assert outcome.exit_status == 0
    assert Path("scores/score.csv").read_text() == "id,sum [mm]\na,3.0\nb,6.0\nd,12.0\n"


@pytest.mark.parametrize(
    ("format", "name", "line"),
    [
        (None, "predict.csv", "a,low,,0.99,0.01"),
        ("jsonl", "predict.jsonl", '{"id": "a", "kind": "classes", "probabilities": {"low": 0.99, "high": 0.01}'),
        ("parquet", "predict.parquet", None),
    ],
)
def test_a_run_is_extended_in_the_format_that_was_asked_for(format, name, line):
    Path("in.csv").write_text("id,x\nb,2\n")
    apply_verb("predict", "rater", "in.csv", output="out", as_format=format)
    Path("in.csv").write_text("id,x\nb,2\na,1\n")
    assert apply_verb("predict", "rater", "in.csv", output="out", as_format=format).exit_status == 0
    if line is not None:
        assert line in Path("out", name).read_text()
    reader = implementation(read_format(Path("out", name), "classes"))
    assert [reader.read(Path("out", name), kind="classes", key=id).predicted for id in "ab"] == [("low",)] * 2


def test_boxes_are_a_file_a_case_unless_asked_otherwise():
    apply_verb("detect", "rater", "in.csv", output="out")
    assert omlab.read("out/a.json", kind="boxes").boxes[0].label == "dot"
    apply_verb("detect", "rater", "in.csv", output="all", as_format="jsonl")
    assert [line[:10] for line in Path("all/detect.jsonl").read_text().splitlines()] == [
        f'{{"id": "{id}"' for id in "abcd"
    ]


def test_one_result_is_written_to_a_file_and_a_value_is_an_input():
    apply_verb("predict", "rater", values={"numbers": {"values": {"x": 80}}}, output="out")
    assert "numbers,high,," in Path("out/predict.csv").read_text()
    Path("one.json").write_text('{"values": {"x": 25}}')
    apply_verb("predict", "rater", "one.json", output="one-result.json")
    assert omlab.read("one-result.json", kind="classes").probabilities == (0.75, 0.25)
    omlab.write(Scores(values={"x": 1}), "x.csv")
    assert omlab.read("x.csv", kind="scores").values == {"x": 1.0}

"""`omlab slide look`: a row and a picture a slide, whatever is wrong with some; resumed, in shards."""

from __future__ import annotations

import csv
import errno
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omlab.errors import OutputError
from omlab_slide.heat.scale_bar import length_in_words, round_length
from omlab_slide.look.jobs import look_at_slides
from omlab_slide.look.page import conclude
from omlab_slide.look.picture import CANVAS, OUTLINE, sheet_picture
from omlab_slide.testing import draw_slide, held, write_pyramid
from omlab_slide.tissue import tissue
from omlab_testkit.at_work import omlab_command


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("some") / "slides"
    folder.mkdir()
    write_pyramid(folder / "good.tiff", draw_slide((1200, 900), seed=1))
    write_pyramid(folder / "glass.tiff", draw_slide((600, 500), blobs=0))
    write_pyramid(folder / "no-mpp.tiff", draw_slide((600, 500), seed=2), mpp=None)
    (folder / "broken.svs").write_bytes(b"no slide")
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `omlab` in a folder of its own; returns (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    return omlab_command(monkeypatch, capsys, columns=100)


def rows_of(folder):
    with (Path(folder) / "slides.csv").open(newline="") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


def test_a_table_that_cannot_be_written_whole_stays_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "slides.csv").write_text("before")
    write = Path.write_text

    def fill_up(path, text, **more):
        write(path, text[: len(text) // 2], **more)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill_up)
    with pytest.raises(OutputError, match="the disk is full"):
        conclude({}, tmp_path, request={})
    assert (tmp_path / "slides.csv").read_text() == "before"


def test_one_bad_slide_stops_no_other(run, slides):
    status, out, err = run("slide", "look", slides, "-o", "out", "--mpp", "20x", "--patch", 64)
    assert status == 1  # some failed
    rows = rows_of("out")
    assert {id: row["status"] for id, row in rows.items()} == {
        "good": "done", "glass": "done", "no-mpp": "failed", "broken": "failed"
    }  # fmt: skip
    assert int(rows["good"]["patches"]) > 30
    assert float(rows["good"]["mpp"]) == 0.5
    assert float(rows["good"]["tissue_mm2"]) == pytest.approx(0.12, abs=0.04)
    assert (rows["glass"]["patches"], rows["glass"]["reason"]) == ("0", "no tissue was found")
    assert "read.mpp=0.25" in rows["no-mpp"]["reason"]
    assert "cannot be opened as a slide" in rows["broken"]["reason"]
    names = sorted(path.name for path in Path("out").iterdir())
    assert names == [
        "cases.jsonl", "glass.jpg", "good.jpg", "report.html", "report.json", "run.json", "slides.csv"
    ]  # fmt: skip
    page = Path("out/report.html").read_text()
    assert all(word in page for word in ("A look at 4 slides", "broken: failed", "no tissue was found", "Failed cases"))
    assert "http:" not in page
    assert "good" in out
    assert "no tissue was found" in out
    assert "broken failed" in err


def test_what_is_corrected_is_done_and_nothing_else(run, slides, tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(f"id,slide,slide.mpp\na,{slides / 'good.tiff'},\nb,{slides / 'no-mpp.tiff'},\n")
    assert run("slide", "look", "--data", f"cases:{table}", "-o", "out")[0] == 1
    before = Path("out/a.jpg").stat().st_mtime_ns
    table.write_text(f"id,slide,slide.mpp\na,{slides / 'good.tiff'},\nb,{slides / 'no-mpp.tiff'},0.25\n")
    assert run("slide", "look", "--data", f"cases:{table}", "-o", "out")[0] == 0
    assert Path("out/a.jpg").stat().st_mtime_ns == before
    assert float(rows_of("out")["b"]["mpp"]) == 0.25
    table.write_text(f"id,slide,slide.mpp\na,{slides / 'good.tiff'},\nb,{slides / 'no-mpp.tiff'},0.5\n")
    run("slide", "look", "--data", f"cases:{table}", "-o", "out")
    assert float(rows_of("out")["b"]["mpp"]) == 0.5  # another value is another input
    assert "complete already" in run("slide", "look", "--data", f"cases:{table}", "-o", "out")[2]
    record = json.loads(Path("out/cases.jsonl").read_text().splitlines()[0])
    assert record["inputs"]["slide"][0]["sampled"]  # slides are not read through


def test_a_scale_may_be_given_for_all(run, slides):
    status, out, _ = run("slide", "look", slides / "no-mpp.tiff", "-s", "read.mpp=0.5", "-o", "out", "--json")
    assert status == 0
    (row,) = json.loads(out)["slides"]
    assert (row["mpp"], row["status"], row["flags"]) == (0.5, "done", [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.svs"], "does not exist"),
        (["good.tiff", "--mpp", "x"], "is no scale"),
        (["good.tiff", "--tissue", "magic"], "saturation, otsu"),
        (["good.tiff", "--patch", "10", "--overlap", "10"], "overlap below it"),
        (["good.tiff", "-s", "read.reader=vips"], "must be one of"),
        (["good.tiff", "-s", "read.mmp=1"], "mpp"),
    ],
)
def test_what_a_user_gets_wrong_is_one_sentence(run, slides, monkeypatch, arguments, words):
    status, _, err = run("slide", "look", slides / arguments[0], *arguments[1:], "-o", "nothing")
    assert status == 2
    assert words in err
    assert not Path("nothing").exists()


def test_a_lone_slide_without_a_scale_is_one_sentence(run, slides):
    status, out, err = run("slide", "look", slides / "no-mpp.tiff", "-o", "out")
    assert status == 1
    assert err.count("does not say how many micrometres") == 1
    assert "read.mpp=0.25" in err
    assert out == ""


def test_two_processes_share_a_folder(slides, tmp_path, monkeypatch):
    files = [slides / name for name in ("good.tiff", "glass.tiff")]
    for shard in ("0/2", "1/2"):
        monkeypatch.setenv("OMLAB_SHARD", shard)
        outcome = look_at_slides(files, output=tmp_path / "out")
    assert outcome.is_whole
    assert set(rows_of(tmp_path / "out")) == {"good", "glass"}


def test_a_picture_has_its_scale_and_its_lines():
    slide = held(draw_slide((1200, 900), seed=1))
    found = tissue(slide)
    from omlab_slide.grid import patches

    picture = sheet_picture(slide, tissue=found, patches=patches(slide, mpp=0.5, patch=128, tissue=found))
    pixels = np.asarray(Image.open(BytesIO(picture))).astype(int)
    assert pixels.shape == (CANVAS[1], CANVAS[0], 3)
    assert (np.abs(pixels - OUTLINE).sum(axis=2) < 60).sum() > 200
    # 1200 pixels of 0.5 um are 600 um over 560 pixels: the largest round length below a fifth is 100 um
    bar = np.flatnonzero((pixels[CANVAS[1] - 28] < 60).all(axis=1))
    assert bar[-1] - bar[0] + 1 == pytest.approx(100 / (600 / 560), abs=4)


def test_lengths_of_bars_are_round():
    assert [round_length(value) for value in (1, 9.99, 10, 130, 2400, 5000)] == [1, 5, 10, 100, 2000, 5000]
    assert [length_in_words(value) for value in (50, 100, 2000)] == ["50 um", "0.1 mm", "2 mm"]

"""The commands of pages, run one after the other as by a reader with small models and drawn files: `tools.shown`."""

from __future__ import annotations

import io
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from omlab.formats import kinds_of
from omlab_testkit.at_work import omlab_command
from tools import pages
from tools.shown.clips import CLIPS
from tools.shown.images import IMAGES
from tools.shown.proteins import PROTEINS
from tools.shown.slides import SLIDES
from tools.shown.weights import ADAPTED_MODELS, INSTALL, WEIGHTS
from tools.workspace import ROOT

DOCS = ROOT / "docs"
READERS = {
    "adapted-models": ADAPTED_MODELS,
    "clips": CLIPS,
    "images": IMAGES,
    "install": INSTALL,
    "proteins": PROTEINS,
    "slides": SLIDES,
    "weights": WEIGHTS,
}


def shown(page: str) -> list[str]:
    """The commands of a page, without `omlab`."""
    return [shlex.join(words) for words in pages.commands(DOCS / f"{page}.md")]


@pytest.mark.parametrize("page", READERS)
def test_what_is_left_out_stands_on_the_page(page: str) -> None:
    reader, lines = READERS[page], shown(page)
    for beginning in (*reader.left, *reader.between, *reader.fails):
        assert any(line.startswith(beginning) for line in lines), beginning


@pytest.mark.slow
@pytest.mark.parametrize("page", READERS)
def test_a_reader_of_the_page_gets_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader = READERS[page]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / ".cache"))
    reader.files(tmp_path)
    run = omlab_command(monkeypatch, capfd)
    for line in shown(page):
        if reader.leaves(line):
            continue
        do = next((do for beginning, do in reader.between.items() if line.startswith(beginning)), None)
        if do is not None:
            do(tmp_path)
        monkeypatch.setattr(sys, "stdin", io.StringIO(reader.typed))
        status, out, err = run(*reader.words(line))
        assert status == line.startswith(tuple(reader.fails)), f"omlab {line}\n{out}\n{err}"
    names: dict[str, Any] = {**reader.given()}
    for code in pages.blocks(DOCS / f"{page}.md", language="python"):
        exec(compile(code, f"{page}.md", "exec"), names)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_picture_is_read_as_one_where_folders_of_such_are_clips(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"fundus{suffix}").touch()
    assert kinds_of(tmp_path / f"fundus{suffix}")[0] == "image"

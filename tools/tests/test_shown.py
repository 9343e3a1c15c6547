"""The commands of pages, run one after the other as by a reader with small models and drawn files: `tools.shown`."""

from __future__ import annotations

import io
import shlex
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from omlab.errors import OmlabWarning
from omlab.formats import kinds_of
from omlab_testkit.at_work import omlab_command
from omlab_testkit.parity import load_file
from tools import pages
from tools.shown.reader import Reader
from tools.workspace import ROOT

DOCS = ROOT / "docs"
SERVERS = load_file(ROOT / "packages" / "omlab-text" / "tests" / "servers.py")
READERS = {
    "adapted-models": "weights:ADAPTED_MODELS",
    "big-volumes": "big:BIG_VOLUMES",
    "chats": "chats:CHATS",
    "clips": "clips:CLIPS",
    "confidence": "scans:CONFIDENCE",
    "images": "images:IMAGES",
    "install": "weights:INSTALL",
    "judging-chat-models": "judging:JUDGING",
    "labelling": "chats:LABELLING_PAGE",
    "measure": "scans:MEASURE",
    "prompts": "scans:PROMPTS",
    "proteins": "proteins:PROTEINS",
    "search": "search:SEARCH",
    "slides": "slides:SLIDES",
    "training-chats": "chats:TRAINING_CHATS",
    "volume-fusion": "scans:VOLUME_FUSION",
    "weights": "weights:WEIGHTS",
}
OTHERS = {
    "adding-a-recipe": "test_people_pages.py",
    "cluster": "test_people_pages.py",
    "few-shots": "test_few_shots.py",
    "index": "test_pages.py",
    "own-data": "test_own_data.py",
    "porting-a-model": "test_tutorial.py",
    "reading-a-report": "test_pages.py",
    "training": "test_pages.py",
    "writing-a-plugin": "test_tutorial.py",
}
"""Pages whose commands other tests run."""
LOOKED_AT = {"adding-a-modality", "citing"}
"""Pages whose commands are known to exist (`test_commands.py`), and are not run."""


def shown(page: str) -> list[str]:
    """The commands of a page, without `omlab`."""
    return [shlex.join(words) for words in pages.commands(DOCS / f"{page}.md")]


def test_somebody_runs_the_commands_of_each_page() -> None:
    with_commands = {path.stem for path in DOCS.glob("*.md") if shown(path.stem)}
    assert with_commands == {*READERS, *OTHERS, *LOOKED_AT}
    assert [name for name in OTHERS.values() if not (Path(__file__).parent / name).is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", READERS)
def test_a_reader_gets_what_the_page_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    module, _, name = READERS[page].partition(":")
    reader: Reader = getattr(import_module(f"tools.shown.{module}"), name)
    lines = shown(page)
    gone = [start for start in (*reader.left, *reader.between, *reader.fails) if not "".join(lines).count(start)]
    assert gone == [], "they stand no longer on the page"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / ".cache"))
    reader.files(tmp_path)
    run = omlab_command(monkeypatch, capfd)
    with SERVERS.serving(says=reader.serves) as (server, _):
        for line in lines:
            if reader.leaves(line):
                continue
            before = [do for beginning, do in reader.between.items() if line.startswith(beginning)]
            for do in before:
                do(tmp_path)
            monkeypatch.setattr(sys, "stdin", io.StringIO(reader.typed))
            command = reader.in_place(line, server=server)
            status, out, err = run(*shlex.split(command))
            assert status == line.startswith(tuple(reader.fails)), f"{command}\n{out}\n{err}"
        names: dict[str, Any] = {**reader.given()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OmlabWarning)  # what it tells a reader of drawn files
            for code in pages.blocks(DOCS / f"{page}.md", language="python"):
                exec(compile(reader.in_place(code, server=server), f"{page}.md", "exec"), names)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_picture_is_read_as_one_where_folders_of_such_are_clips(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"fundus{suffix}").touch()
    assert kinds_of(tmp_path / f"fundus{suffix}")[0] == "image"

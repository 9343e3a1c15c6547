"""`omlab embed` over folders of slides: one bad slide stops nothing, two processes share, killed it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omlab_slide.testing import draw_slide, write_pyramid

CARDS = """
[[model]]
name = "colours"
summary = "The mean colour of a picture."
entry = "toy_colours:load"
licence = "Apache-2.0"
citation = "None"
intended_use = "Tests."
limits = "Everything else."
[model.does.embed]
takes = { image = "image" }
gives = "embedding"
batch = 8
"""
PLUGIN = """
import os, time
import numpy as np
from omlab import hookimpl, read_cards
OMLAB_HOOK_API = 2

@hookimpl
def omlab_models():
    return read_cards(__package__, "model")

class Colours:
    def embed(self, batch, /):
        from omlab_payloads.embedding import Embedding
        time.sleep(float(os.environ.get("SLOWLY", "0")))
        for inputs in batch:
            yield Embedding(vector=np.repeat(inputs["image"].array.mean(axis=(0, 1)), 20000))  # few rows a chunk

def load(card, *, weights, needs, device, settings, config):
    return Colours()
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Slides, and an installed plugin with an encoder of colours."""
    plugin = tmp_path / "site" / "toy_colours"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(PLUGIN)
    (plugin / "cards.toml").write_text(CARDS)
    info = tmp_path / "site" / "toy_colours-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-colours\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[omlab]\ntoy_colours = toy_colours\n")
    (tmp_path / "slides").mkdir()
    for number, name in enumerate(("a", "b", "c")):
        write_pyramid(tmp_path / "slides" / f"{name}.tiff", draw_slide((1024, 768), seed=number), mpp=2.0)
    write_pyramid(tmp_path / "slides" / "glass.tiff", draw_slide((600, 500), blobs=0), mpp=2.0)
    return tmp_path


def embed(here: Path, output: str, **environment: str) -> subprocess.Popen[str]:
    words = ["slide-features", "slides", "--need", "encoder=colours", "-s", "mpp=4", "-s", "patch=32", "-o", output]
    return subprocess.Popen(
        [sys.executable, "-m", "omlab", "embed", *words],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(here / "site"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def bags(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*.bag.zarr/**/*") if path.is_file()
    }


@pytest.mark.slow
def test_two_share_a_folder_and_killed_it_goes_on_to_the_same_bytes(here: Path) -> None:
    whole = embed(here, "whole")
    said, _ = whole.communicate()
    assert whole.returncode == 1, said  # one slide has no tissue
    assert "shows no tissue" in said
    wanted = bags(here / "whole")
    assert {name.split(".")[0] for name in wanted} == {"a", "b", "c"}
    lines = [json.loads(line) for line in (here / "whole" / "cases.jsonl").read_text().splitlines()]
    assert {line["id"]: line["status"] for line in lines}["glass"] == "failed"

    both = [embed(here, "shared", OMLAB_SHARD=f"{part}/2") for part in range(2)]
    for process in both:
        said, _ = process.communicate()
        assert process.returncode in (0, 1), said
    assert bags(here / "shared") == wanted

    begun = embed(here, "killed", SLOWLY="0.05")
    deadline = time.monotonic() + 120
    while not list(here.glob("killed.partial/scratch/*/*/features/c/2")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(begun.pid, signal.SIGKILL)
    begun.communicate()
    assert not (here / "killed").exists()
    again = embed(here, "killed")
    again.communicate()
    assert bags(here / "killed") == wanted

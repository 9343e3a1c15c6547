"""Weights that are parted among processes: what comes of a training is what comes of it in one process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import omlab_train_toys as toys
import pytest
import torch
from omlab_train_toys import PARTED, SHARDED, STEPS, Blocks
from safetensors.torch import load_file
from torch import Tensor

from omlab.errors import TrainingError
from omlab_train import fit
from omlab_train.checkpoint import NAME

needs_several = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no distributed training"
)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes have trained."""
    folder = tmp_path_factory.mktemp("sharded")
    subprocess.run([sys.executable, toys.__file__, "sharded", str(folder)], check=True, timeout=120, env=ENVIRONMENT)
    return folder


def of_rank(folder: Path, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"rank-{rank}.json").read_text())
    return found


def assert_close(found: Mapping[str, Any], expected: Mapping[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(torch.as_tensor(found[name]), value, rtol=1e-4, atol=1e-6, msg=name)


@needs_several
@pytest.mark.parametrize("name", SHARDED)
def test_two_processes_train_in_parts_what_one_trains_whole(trained: Path, tmp_path: Path, name: str) -> None:
    how = SHARDED[name]
    alone = Blocks(replace(how, shards=(), accumulate=2 * how.accumulate))
    expected = fit(alone, folder=tmp_path, device="cpu", seed=7)
    first, second = (of_rank(trained, rank)[name] for rank in (0, 1))
    assert_close(first["weights"], alone.module.state_dict())
    for row, other, reference in zip(first["rows"], second["rows"], expected, strict=True):
        for figure in row.keys() - {"seconds"}:
            assert row[figure] == other[figure] == pytest.approx(reference[figure], rel=1e-4), figure
    assert_same_file(trained / name / NAME, tmp_path / NAME)


@needs_several
def test_no_process_ever_holds_more_than_its_part(trained: Path) -> None:
    """Not while it trains, nor while it validates; of five rows the first has three."""
    for name in SHARDED:
        first, second = (of_rank(trained, rank)[name]["shares"] for rank in (0, 1))
        assert max(first + second) < 0.7, name
        assert first[0] + second[0] == pytest.approx(1), name


def assert_same_file(path: Path, other: Path) -> None:
    """The same whole tensors, but for the digest of settings."""
    found, expected = (load_file(one) for one in (path, other))
    assert found.keys() == expected.keys()
    for name in found.keys() - {"state.json"}:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6, msg=name)


@needs_several
def test_an_interrupted_training_in_parts_goes_on_as_if_it_had_not_been(trained: Path) -> None:
    found = of_rank(trained, 0)
    whole, resumed = found["average"], found["resumed"]
    assert resumed["calls"] == 2 * STEPS - 1, "the first epoch must not be trained again"
    assert resumed["weights"] == whole["weights"]
    assert [row["loss"] for row in resumed["rows"]] == [row["loss"] for row in whole["rows"]]


@needs_several
@pytest.mark.slow
def test_a_killed_training_in_parts_goes_on(trained: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", toys.__file__]
    command = [*launch, "killed", str(tmp_path)]
    assert subprocess.run(command, timeout=120, env=ENVIRONMENT, capture_output=True).returncode != 0
    assert (tmp_path / "training" / NAME).exists()
    assert not list(tmp_path.glob("rank-*"))
    subprocess.run(command, check=True, timeout=120, env=ENVIRONMENT)
    assert of_rank(tmp_path, 0) == of_rank(trained, 0)["average"]["weights"]


@pytest.mark.parametrize(
    ("shards", "processes", "message"),
    [
        (("0", "1"), 1, "Sharding parts a module among processes, but there is one alone: start it with torchrun"),
        (("0", "blocks.1"), 2, "Sequential has no part 'blocks.1' by which it could be parted"),
    ],
)
def test_what_cannot_be_parted_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: tuple[str, ...], processes: int, message: str
) -> None:
    monkeypatch.setattr("accelerate.Accelerator.num_processes", processes)
    monkeypatch.setattr("omlab_train.loop.said_by_the_first", lambda value, accelerator: value)
    with pytest.raises(TrainingError, match=re.escape(message)):
        fit(Blocks(replace(PARTED, shards=shards)), folder=tmp_path, device="cpu", seed=0)

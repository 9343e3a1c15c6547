"""Kernels compile for a GPU, without one: no spills, no product of a precision that was not meant, few variants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")

VARIANTS = {
    "windows": ["_accumulate_kernel", "_argmax_kernel"],
    "fusions": ["_fusion_kernel"],
}
"""What these compile, whatever the shapes, places and mirrorings that they are called with."""


def compiled(*cases: str) -> list[dict[str, Any]]:
    script = Path(__file__).with_name("ahead.py")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-W", "ignore", str(script), *cases]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


SHARED = 99 * 1024
"""What a program may take on every GPU since 2020."""


def check(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["stack"] == 0, row
        assert row["shared"] <= SHARED, row
        assert set(row["products"]) <= {"tf32x3"}, row


def test_kernels_do_not_spill_and_are_compiled_once_for_all_shapes_and_places() -> None:
    found = compiled("attention", *VARIANTS)
    check(found)
    assert {case: [row["kernel"] for row in found if row["case"] == case] for case in VARIANTS} == VARIANTS


@pytest.mark.slow
@pytest.mark.parametrize("part", ["attention", "dice", "distillations", "norm", "patches", "poolings"])
def test_no_kernel_spills_or_rounds_more_than_is_said(part: str) -> None:
    found = compiled(f"{part}*")
    assert found
    check(found)

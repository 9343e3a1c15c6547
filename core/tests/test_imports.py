"""Importing, listing and help stay light: what is not used is not imported."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "rich", "pydantic", "scipy", "nibabel", "difflib")


def heavy_after(code: str, **variables: str) -> list[str]:
    """Which heavy modules a fresh interpreter has after `code`."""
    probe = f"{code}\nimport sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, env={**os.environ, **variables}
    )
    return json.loads(done.stderr.strip().splitlines()[-1])


def command(*words: str) -> str:
    return f"from omlab.cli.app import build\nbuild()({list(words)!r}, standalone_mode=False)"


@pytest.mark.parametrize(
    "code",
    [
        "import omlab",
        "import omlab.cli\nfrom omlab.cli.app import build\nbuild()",
        "from omlab.registry import registry, HOOKS\nfor kind in HOOKS: registry().cards(kind)",
        command("list"),
        command("list", "--json"),
        command("--help"),
        command("predict", "--help"),
        command("adapt", "--help"),
    ],
    ids=["omlab", "cli", "cards", "list", "list --json", "help", "predict --help", "adapt --help"],
)
def test_nothing_heavy_is_imported(toy, code):
    assert heavy_after(code, PYTHONPATH=str(toy)) == []


def test_what_is_installed_here_is_listed_without_torch_and_numpy():
    assert not {"torch", "numpy", "rich", "pydantic"} & set(heavy_after(command("list")))


def test_every_public_name_can_be_had():
    import omlab

    for name in omlab.__all__:
        assert getattr(omlab, name) is not None
    assert set(omlab.__all__) <= set(dir(omlab))

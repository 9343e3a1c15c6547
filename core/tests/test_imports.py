"""Importing and listing stay light."""

import json
import subprocess
import sys

HEAVY = ("torch", "numpy", "rich", "pydantic", "scipy", "nibabel", "typer")


def heavy_after(code: str) -> list[str]:
    probe = f"{code}\nimport sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return json.loads(done.stderr.strip().splitlines()[-1])


def test_importing_omlab_imports_nothing_heavy():
    assert heavy_after("import omlab") == []


def test_reading_all_cards_imports_nothing_heavy():
    code = "from omlab.registry import registry, HOOKS\nfor kind in HOOKS: registry().cards(kind)"
    assert heavy_after(code) == []


def test_listing_imports_neither_torch_nor_numpy():
    code = "from omlab.cli.app import build\nbuild()(['list'], standalone_mode=False)"
    assert not {"torch", "numpy"} & set(heavy_after(code))


def test_every_public_name_can_be_had():
    import omlab

    for name in omlab.__all__:
        assert getattr(omlab, name) is not None
    assert set(omlab.__all__) <= set(dir(omlab))

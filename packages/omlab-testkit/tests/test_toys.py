"""The toys: plugins of every modality, each of them under sixty lines of Python, pass the kit."""

from pathlib import Path

import pytest

SHARED = {"scans": (), "sequences": (), "training": ()}
NEEDED = {
    "classifier": ("scans", "training"),
    "chat": (),
    "registration": ("scans",),
    "mil": ("scans", "training", "classifier"),
    "prompted": ("scans",),
    "loop": ("scans", "training"),
    "attention": ("sequences", "training"),
} | SHARED
FOLDER = Path(__file__).with_name("toys")


@pytest.mark.parametrize("name", NEEDED)
def test_a_toy_is_under_sixty_lines(name):
    lines = [line for path in (FOLDER / name).glob("omlab_toy_*/*.py") for line in path.read_text().splitlines()]
    assert sum(bool(line.strip()) for line in lines) < 60


@pytest.mark.parametrize("name", NEEDED.keys() - {"training"})
def test_a_toy_passes_the_kit(toys, tmp_path, name):
    toys.install(name, *NEEDED[name])
    broken, left = toys.checked(name, tmp_path / "checked")
    assert not broken
    assert {check for check, _ in left} <= {"gpu_equals_cpu"}

import shutil
from pathlib import Path

import pytest
import torch  # noqa: F401 - pytester forgets modules after each run, and torch cannot be imported twice in a process

from omlab.plugins import installed
from omlab.registry import registry
from omlab_testkit import examples

collect_ignore = ["example"]  # a plugin to run the kit on, not tests of the kit
# plugins of pytest that take seconds in each of a hundred runs and have no part in them
WITHOUT = [f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "anyio", "unraisableexception")]
EXAMPLE = Path(__file__).with_name("example")


class Example:
    """A copy of the example plugin, installed for one test, to be broken and checked."""

    def __init__(self, pytester):
        self.pytester, self.folder = pytester, pytester.path

    def change(self, file, old, new):
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1))

    def append(self, file, text):
        path = self.folder / file
        path.write_text(path.read_text() + text)

    def check(self, *arguments):
        for cached in (installed, registry, examples._examples_file):
            cached.cache_clear()
        try:
            return self.pytester.runpytest_inprocess(*WITHOUT, *(arguments or ["tests"]))
        finally:
            for cached in (installed, registry, examples._examples_file):
                cached.cache_clear()


@pytest.fixture
def example(pytester):
    shutil.copytree(EXAMPLE, pytester.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    pytester.syspathinsert()
    return Example(pytester)

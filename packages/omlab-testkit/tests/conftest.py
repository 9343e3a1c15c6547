import importlib
import re
import shutil
import sys
from pathlib import Path

import pytest

# pytester forgets modules after each run: torch cannot be imported twice in a process, and others take long
import safetensors.torch  # noqa: F401
import torch  # noqa: F401

from omlab.models import package_versions
from omlab.plugins import installed
from omlab.registry import registry
from omlab_testkit import examples
from omlab_testkit.checks import all_checks
from omlab_testkit.kit import Kit
from omlab_testkit.outcome import CannotCheckError, PromiseError
from omlab_testkit.project import Project, read_project

collect_ignore = ["example", "toys"]  # plugins to run the kit on, not tests of the kit
# plugins of pytest that take seconds in each of a hundred runs and have no part in them
WITHOUT = [f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "anyio", "unraisableexception")]
EXAMPLE = Path(__file__).with_name("example")


def forget(prefix="omlab_example"):
    """Plugins are looked up anew, and the modules of a package imported anew."""
    importlib.invalidate_caches()
    for cached in (installed, registry, examples._examples_file, package_versions):
        cached.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0].startswith(prefix)]:
        del sys.modules[name]


class Example:
    """A copy of the example plugin, installed for one test, to be broken and checked."""

    def __init__(self, folder):
        self.folder = folder

    def change(self, file, old, new):
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1))

    def append(self, file, text):
        path = self.folder / file
        path.write_text(path.read_text() + text)


class Checked(Example):
    """One whose checks are called directly."""

    def broken(self, name, folder):
        """What a check says of each subject that breaks its promise, by the subject."""
        check, found = all_checks()[name], {}
        kit = Kit(project=read_project(self.folder, checks=all_checks()))
        for number, subject in enumerate(kit.subjects(check.scope)):
            if not check.is_for(subject) or (check.runs_model and getattr(subject, "is_large", False)):
                continue
            place = folder / f"{number}"
            place.mkdir(parents=True)
            try:
                check.run(subject, place)
            except PromiseError as error:
                found[subject.id] = str(error)
            except CannotCheckError:
                continue
        return found


class Run(Example):
    """One whose tests are run by pytest."""

    def __init__(self, pytester):
        super().__init__(pytester.path)
        self.pytester = pytester

    def check(self, *arguments):
        forget()
        try:
            return self.pytester.runpytest_inprocess(*WITHOUT, *(arguments or ["tests"]))
        finally:
            forget()


def copy_example(folder):
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def example(pytester):
    copy_example(pytester.path)
    pytester.syspathinsert()
    return Run(pytester)


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """The example plugin, installed and to be broken: `broken.broken(check, folder)` calls a check on it."""
    copy_example(tmp_path / "example")
    monkeypatch.syspath_prepend(str(tmp_path / "example"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    forget()
    yield Checked(tmp_path / "example")
    forget()


@pytest.fixture
def checks_in():
    """Names of the checks in modules."""

    def named(*modules):
        return {name for name, check in all_checks().items() if check.run.__module__.rpartition(".")[2] in modules}

    return named


@pytest.fixture
def caught(broken, monkeypatch, tmp_path):
    """Change the example in one place; a check must say so in a sentence that matches."""

    def try_it(check, file, old, new, message):
        broken.change(file, old, new)
        if check == "gpu_equals_cpu":
            monkeypatch.setattr("torch.cuda.is_available", lambda: True)
            monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
        found = broken.broken(check, tmp_path / "checked")
        assert found, "nothing is found"
        assert any(re.search(message, sentence) for sentence in found.values()), found

    return try_it


TOYS = Path(__file__).with_name("toys")


class Toys:
    """Toys as installed distributions."""

    def __init__(self, site):
        self.site = site

    def install(self, *names):
        for name in names:
            module = f"omlab_toy_{name}"
            shutil.copytree(TOYS / name / module, self.site / module, ignore=shutil.ignore_patterns("__pycache__"))
            info = self.site / f"{module}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: omlab-toy-{name}\nVersion: 1.0\n")
            entries = (
                f"[omlab]\ntoy-{name} = {module}.plugin\n" if (TOYS / name / module / "plugin.py").exists() else ""
            )
            more = TOYS / name / "entry_points.txt"
            (info / "entry_points.txt").write_text(entries + (more.read_text() if more.exists() else ""))
        forget("omlab_toy")

    def examples(self, name):
        """The module `tests/examples.py` of a toy, as the kit has it."""
        return examples._examples_file(TOYS / name / "tests")

    def checked(self, name, folder):
        """Check a toy: what was broken and what could not be checked, by check and subject."""
        kit = Kit(project=Project(name=f"omlab-toy-{name}", folder=TOYS / name))
        broken, left = {}, {}
        for check in all_checks().values():
            for number, subject in enumerate(kit.subjects(check.scope)):
                if check.is_for(subject):
                    place = folder / f"{check.name}-{number}"
                    place.mkdir(parents=True)
                    try:
                        check.run(subject, place)
                    except PromiseError as error:
                        broken[check.name, subject.id] = str(error)
                    except CannotCheckError as error:
                        left[check.name, subject.id] = str(error)
        return broken, left


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """Toys to be installed and tried, in an empty working folder."""
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Toys(site)
    forget("omlab_toy")

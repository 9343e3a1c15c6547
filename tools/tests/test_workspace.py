"""The tools around the workspace: what a change concerns, the house rules, the table."""

import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tools import house_rules, imports, plugin_table, workspace
from tools.workspace import Package


def names(packages: list[Package]) -> set[str]:
    return {package.name for package in packages}


@pytest.mark.parametrize(("row", "name"), [("Omlab_Core[torch]>=1", "omlab-core"), ("numpy", "numpy")])
def test_the_name_of_a_requirement(row: str, name: str) -> None:
    assert workspace.name_of(row) == name


def test_a_change_concerns_the_dependants_too() -> None:
    everything = names(list(workspace.packages()))
    assert names(workspace.with_dependants(["omlab-core"])) == everything - {"omlab-kernels"}  # they need torch alone
    concerned = names(workspace.with_dependants(["omlab-train"]))
    assert {"omlab-train", "omlab-adapters", "omlab-stunet"} <= concerned
    assert "omlab-report" not in concerned


def test_a_packages_own_pins_go_before_those_of_the_root() -> None:
    esmc = next(package for package in workspace.apart() if package.name == "omlab-esmc")
    rows = workspace.pins(esmc)
    assert [row for row in rows if row.startswith("transformers==")] == ["transformers==4.48.1"]
    replaced = set(workspace.pins()) - set(rows)
    assert {workspace.name_of(row) for row in replaced} == {"transformers", "tokenizers", "huggingface-hub"}


def test_what_needs_a_package_apart_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    esmc = next(package for package in workspace.apart() if package.name == "omlab-esmc")
    core = workspace.packages()[0]
    shared = replace(core, name="omlab-x", dependencies=("omlab-esmc",))
    monkeypatch.setattr(house_rules, "packages", lambda: (core, shared, esmc))
    assert list(house_rules.packages_apart()) == ["omlab-x needs omlab-esmc, which has an environment of its own."]
    monkeypatch.setattr(house_rules, "read_toml", lambda path: {"tool": {}})
    monkeypatch.setattr(house_rules, "packages", lambda: (core, esmc))
    assert [breach.partition(":")[0] for breach in house_rules.packages_apart()] == ["omlab-esmc"]


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    answers = {"merge-base": ["abc"], "diff": [], "ls-files": []}
    monkeypatch.setattr(workspace, "git", lambda *arguments: answers[arguments[0]])
    return answers


def test_changed_packages_come_from_changed_files(git: dict[str, list[str]]) -> None:
    git["diff"] = ["docs/index.md"]
    assert workspace.changed("main") == []
    git["ls-files"] = ["contrib/omlab-phantom/src/omlab_phantom/new.py"]
    assert "omlab-phantom" in names(workspace.changed("main"))
    assert "omlab-core" not in names(workspace.changed("main"))
    git["diff"] = ["noxfile.py"]
    assert workspace.changed("main") == list(workspace.packages())


def test_without_a_base_everything_is_concerned(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: str) -> list[str]:
        raise subprocess.CalledProcessError(128, "git")

    monkeypatch.setattr(workspace, "git", fail)
    assert workspace.changed("0" * 40) == list(workspace.packages())


def test_a_branch_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="There is no branch, tag or commit 'origin/none' here"):
        workspace.changed("origin/none")


@pytest.mark.parametrize("rule", house_rules.RULES)
def test_this_workspace_keeps_the_house_rules(rule: object) -> None:
    assert callable(rule)
    assert list(rule()) == []


def test_an_action_without_its_hash_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "a.yml").write_text("permissions: {}\njobs:\n  x:\n    steps:\n      - uses: actions/checkout@v4\n")
    (folder / "b.yml").write_text("jobs: [\n")
    (folder / "c.yml").write_text(
        f"permissions: write-all\njobs: {{}} # uses: ./here\n# uses: a/b@{'0' * 40} # v1.0.0\n"
    )
    monkeypatch.setattr(house_rules, "ROOT", tmp_path)
    breaches = list(house_rules.workflows())
    assert [breach.split(" ")[0] for breach in breaches] == [
        ".github/workflows/a.yml:5:",
        ".github/workflows/b.yml",
        ".github/workflows/c.yml:",
    ]


def test_circles_of_imports_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "pkg"
    (folder / "inner").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "a.py": "def late():\n    from pkg.inner import b\n",
        "inner/__init__.py": "",
        "inner/b.py": "from ..c import name\n",
        "c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.a import late\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    graph = imports.import_graph(folder)
    assert graph["pkg.a"] == {"pkg.inner.b"}
    assert graph["pkg.inner.b"] == {"pkg.c"}
    assert imports.import_cycle(graph) == []
    (folder / "c.py").write_text("import pkg.a\n")
    cycle = imports.import_cycle(imports.import_graph(folder))
    assert cycle[0] == cycle[-1]
    assert all(b in imports.import_graph(folder)[a] for a, b in pairwise(cycle))
    assert set(cycle) == {"pkg.a", "pkg.inner.b", "pkg.c"}


def test_the_table_goes_between_its_marks() -> None:
    text = plugin_table.with_table(f"before {plugin_table.BEGIN} old {plugin_table.END} after")
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert " old " not in text
    assert plugin_table.with_table(text) == text
    with pytest.raises(ValueError, match="marks"):
        plugin_table.with_table("no marks")

"""`omlab new`: the files, the lists of the workspace, and what is refused.

That the packages pass their own tests, ruff and mypy is tested by tools/tests/test_scaffolded.py, with
everything installed that they need.
"""

import ast
import shutil
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from omlab.card_schema import validate
from omlab.cards import cards_in
from omlab.cli.app import build
from omlab.errors import OutputError, UsageError
from omlab_testkit import scaffold
from omlab_testkit.scaffold.kinds import KINDS

ROOT_PYPROJECT = """\
[project]
name = "omlab-workspace"
dependencies = [
    "omlab-core",
]

[tool.uv.sources]
omlab-core = { workspace = true }

[tool.importlinter]
root_packages = [
    "omlab",
]

[[tool.importlinter.contracts]]
layers = [
    "omlab_old",
    "omlab",
]
"""
README = """\
| package | what it is | what it brings |
|---|---|---|
| [omlab-core](core) | The core. |  |
| [omlab-prompts](packages/omlab-prompts) | Prompts. | command `omlab simulate` |
| [omlab-stunet](contrib/omlab-stunet) | A network. | model `stunet` |
| [omlab-usfm](contrib/omlab-usfm) | Another. | model `usfm` |

<!-- plugins: end -->
"""


def checkout(folder: Path) -> Path:
    (folder / "contrib").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(ROOT_PYPROJECT)
    (folder / "README.md").write_text(README)
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["tiny-net", "omlab-a1"])
def test_a_package_is_complete(kind: str, name: str, tmp_path: Path) -> None:
    written = scaffold.create(kind, name, destination=tmp_path, contrib=False)
    card_name = name.removeprefix("omlab-")
    folder = tmp_path / f"omlab-{card_name}"
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(written)
    module = f"omlab_{card_name.replace('-', '_')}"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["omlab"] == {card_name: f"{module}.plugin"}
    for path in written:
        text = path.read_text(encoding="utf-8")
        if path.name != "LICENSE":
            assert "$" not in text, f"{path} has something that was not filled in"
        if path.suffix == ".py":
            ast.parse(text)
    document = tomllib.loads((folder / "src" / module / "cards.toml").read_text())
    assert set(document) == set(KINDS[kind].cards)
    for card_kind in KINDS[kind].cards:
        (card,) = cards_in(document, card_kind, source="cards.toml")
        assert card.name == card_name
        home, entry = validate(card).entry.split(":")
        source = (folder / "src" / module / f"{home.rpartition('.')[2]}.py").read_text()
        assert f"def {entry}(" in source or f"class {entry}" in source
        assert f"def omlab_{card_kind}s()" in (folder / "src" / module / "plugin.py").read_text()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("name", ["", "Tiny", "tiny_net", "../evil", "1net", "a--b", "omlab-", "x" * 31, "a b", "é"])
def test_impossible_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a package"):
        scaffold.create("model", name, destination=tmp_path, contrib=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "like"), [("My_Net", "my-net"), ("U-Net 3D", "u-net-3d"), ("3d", "tiny-net")])
def test_a_name_that_would_do_is_told(name: str, like: str) -> None:
    with pytest.raises(UsageError, match=f"such as {like}"):
        scaffold.names(name)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("model", "core", "omlab-core is a package of omlab itself"),
        ("model", "slide", "omlab-slide is a package of omlab itself"),
        ("dataset", "omlab-testkit", "a package of omlab itself"),
        ("adapter", "installed-already", "omlab-installed-already 3.1 is installed"),
        ("adapter", "finetune", "omlab-adapters offers one of that name"),
    ],
)
def test_a_name_that_is_taken_is_refused(
    kind: str, name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site" / "omlab_installed_already-3.1.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: omlab-installed-already\nVersion: 3.1\n")
    monkeypatch.syspath_prepend(str(site.parent))
    with pytest.raises(UsageError, match=message):
        scaffold.create(kind, name, destination=tmp_path / "here", contrib=False)
    assert not (tmp_path / "here").exists()


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "omlab-tiny").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        scaffold.create("model", "tiny", destination=tmp_path, contrib=False)
    assert not list((tmp_path / "omlab-tiny").iterdir())


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        scaffold.create("model", "tiny", destination=tmp_path / "file", contrib=False)


def test_contrib_goes_into_the_lists_of_the_workspace(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    (root / "core" / "src").mkdir(parents=True)
    written = scaffold.create("model", "tiny", destination=root / "core" / "src", contrib=True)
    assert root / "contrib" / "omlab-tiny" / "pyproject.toml" in written
    document = tomllib.loads((root / "pyproject.toml").read_text())
    assert document["project"]["dependencies"] == ["omlab-core", "omlab-tiny"]
    assert document["tool"]["uv"]["sources"]["omlab-tiny"] == {"workspace": True}
    assert document["tool"]["importlinter"]["root_packages"] == ["omlab", "omlab_tiny"]
    assert document["tool"]["importlinter"]["contracts"][0]["layers"] == ["omlab_old | omlab_tiny", "omlab"]
    rows = [line.split("|")[3].strip() for line in (root / "README.md").read_text().splitlines() if "| [" in line]
    assert rows == ["", "command `omlab simulate`", "model `stunet`", "model `tiny`", "model `usfm`"]


def test_a_package_that_was_removed_by_hand_is_not_listed_twice(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    scaffold.create("model", "tiny", destination=root, contrib=True)
    first = {name: (root / name).read_text() for name in ("pyproject.toml", "README.md")}
    shutil.rmtree(root / "contrib" / "omlab-tiny")
    scaffold.create("model", "tiny", destination=root, contrib=True)
    assert {name: (root / name).read_text() for name in first} == first


def test_a_package_of_a_kind_and_its_format_has_one_row_of_both(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    scaffold.create("payload", "tiny", destination=root, contrib=True)
    (row,) = [line for line in (root / "README.md").read_text().splitlines() if "`tiny`" in line]
    assert "format `tiny`; kind `tiny`" in row


def test_a_list_that_cannot_be_written_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = checkout(tmp_path)
    write = Path.write_text

    def refuse(path: Path, text: str, **options: str) -> int:
        if path.name.startswith(".README.md"):
            raise PermissionError(13, "Permission denied")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(OutputError, match="cannot be changed: Permission denied"):
        scaffold.create("model", "tiny", destination=root, contrib=True)
    assert (root / "pyproject.toml").read_text() == ROOT_PYPROJECT
    assert sorted(path.name for path in root.iterdir()) == ["README.md", "contrib", "pyproject.toml"]
    assert not list((root / "contrib").iterdir())


def test_contrib_outside_a_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not in a checkout of omlab"):
        # The temporary folder may lie in a checkout (nox puts it there): the root of the disk does not.
        scaffold.create("adapter", "tiny", destination=Path(tmp_path.anchor), contrib=True)


def test_a_workspace_with_other_lists_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    (root / "pyproject.toml").write_text(ROOT_PYPROJECT.replace("root_packages", "packages"))
    with pytest.raises(UsageError, match="has no list"):
        scaffold.create("adapter", "tiny", destination=root, contrib=True)
    assert not list((root / "contrib").iterdir())


def test_the_command_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(build(), ["new", "evaluator", "tiny"])
    assert done.exit_code == 0, done.output
    assert "cd omlab-tiny" in done.output
    assert (tmp_path / "omlab-tiny" / "tests" / "test_evaluator.py").is_file()


def test_the_command_says_which_lists_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout(tmp_path))
    done = CliRunner().invoke(build(), ["new", "evaluator", "tiny", "--contrib"])
    files = [path for path in (tmp_path / "contrib" / "omlab-tiny").rglob("*") if path.is_file()]
    assert f"omlab-tiny: {len(files)} files." in done.output
    assert f"Listed it in {tmp_path / 'pyproject.toml'} and {tmp_path / 'README.md'}." in done.output


def test_another_kind_is_refused_with_those_there_are() -> None:
    done = CliRunner().invoke(build(), ["new", "network", "tiny"])
    assert done.exit_code == 2
    for kind in ("model", "recipe", "dataset", "adapter", "evaluator", "format", "payload"):
        assert f"'{kind}'" in done.output

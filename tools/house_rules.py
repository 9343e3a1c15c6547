"""Rules of the house that no other linter knows; `python -m tools.house_rules` prints every breach.

Each rule is a function that yields one sentence a breach.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from tools import pins
from tools.imports import import_cycle, import_graph
from tools.workspace import ROOT, apart, name_of, packages, read_toml

FRAGMENT = re.compile(r"(\+[\w-]+|\d+)(\.\d+)?\.(feature|bugfix|doc|removal|misc)(\.\d+)?\.md")
PINNED_ACTION = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
VERSION_COMMENT = re.compile(r"uses:\s*(?!\./)\S+@\S+\s+# v\d+\.\d+\.\d+$")


def changelog_fragments() -> Iterator[str]:
    """`changes/` holds towncrier fragments of a known kind that say something."""
    for package in packages():
        for path in sorted((package.folder / "changes").glob("*")):
            where = path.relative_to(ROOT)
            if path.name == ".gitkeep":
                continue
            if not FRAGMENT.fullmatch(path.name):
                yield f"{where}: name it ISSUE.KIND.md or +WORD.KIND.md; kinds: feature, bugfix, doc, removal, misc."
            elif not path.read_text(encoding="utf-8").strip():
                yield f"{where} is empty: write a line for the reader of the changelog."


def package_files() -> Iterator[str]:
    """Every package has the files that its distribution needs, and one version."""
    licence = (ROOT / "LICENSE").read_bytes()
    for package in packages():
        where = package.folder.relative_to(ROOT)
        for needed in ("README.md", "CHANGELOG.md", "LICENSE", f"src/{package.module}/py.typed", "tests"):
            if not (package.folder / needed).exists():
                yield f"{where}/{needed} is missing."
        if (package.folder / "LICENSE").is_file() and (package.folder / "LICENSE").read_bytes() != licence:
            yield f"{where}/LICENSE differs from the one in the root: copy that."
        if package.stated_version != package.version:
            yield f"{where}: __version__ in {package.module}/__init__.py is not {package.version} as in pyproject.toml."


def workspace_lists() -> Iterator[str]:
    """The root pyproject names every package wherever it lists them."""
    root = read_toml(ROOT / "pyproject.toml")
    dependencies = {name_of(row) for row in root["project"]["dependencies"]}
    sources = root["tool"]["uv"]["sources"]
    linter = root["tool"]["importlinter"]
    layers = {name for row in linter["contracts"][0]["layers"] for name in re.split(r"[ |:]+", row)}
    for package in packages():
        for where, known in (("project.dependencies", dependencies), ("tool.uv.sources", sources)):
            if package.apart and package.name in known:
                yield f"pyproject.toml: {package.name} is in {where}, but the workspace excludes it."
            elif not package.apart and package.name not in known:
                yield f"pyproject.toml: {package.name} is not in {where}."
        for where, known in (("root_packages", linter["root_packages"]), ("the layers", layers)):
            if package.module not in known:
                yield f"pyproject.toml: {package.module} is not in {where} of import-linter."


def contrib_requirements() -> Iterator[str]:
    """No package depends on a contributed one; extras and tests may."""
    contrib = {package.name for package in packages() if package.area == "contrib"}
    for package in packages():
        for row in package.dependencies:
            if name_of(row) in contrib:
                yield f"{package.name} depends on {name_of(row)}: only an extra may name a contributed package."


def packages_apart() -> Iterator[str]:
    """No package needs one that cannot share its environment; such a one finds ours in this repository."""
    alone = {package.name for package in apart()}
    ours = {package.name for package in packages()}
    for package in packages():
        for name in sorted(package.needs & alone - {package.name}):
            yield f"{package.name} needs {name}, which has an environment of its own."
        if package.apart:
            sources = read_toml(package.folder / "pyproject.toml")["tool"].get("uv", {}).get("sources", {})
            for name in sorted((package.needs & ours) - {package.name} - set(sources)):
                yield f"{package.name}: give the path of {name} in tool.uv.sources of its pyproject.toml."


def pinned_requirements() -> Iterator[str]:
    """Whatever a package asks for has a pin that it can be installed with."""
    for package in packages():
        yield from pins.unpinned(package)


def import_cycles() -> Iterator[str]:
    """No module of a package imports itself by way of others, not even inside a function."""
    for package in packages():
        cycle = import_cycle(import_graph(package.folder / "src" / package.module))
        if cycle:
            yield f"{package.name}: {' imports '.join(cycle)}: move what they share to a module that imports neither."


def workflows() -> Iterator[str]:
    """Workflows are YAML, grant few rights, and pin actions by full hash with the version beside it."""
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        where = path.relative_to(ROOT)
        text = path.read_text(encoding="utf-8")
        try:
            document: dict[str, Any] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            yield f"{where} is not YAML: {str(error).splitlines()[0]}."
            continue
        if document.get("permissions") not in ({}, {"contents": "read"}):
            yield f"{where}: the workflow's own permissions must be {{}} or contents: read; jobs ask for more."
        for number, line in enumerate(text.splitlines(), start=1):
            foreign = "uses:" in line and "uses: ./" not in line
            if foreign and not (PINNED_ACTION.search(line) and VERSION_COMMENT.search(line)):
                yield f"{where}:{number}: pin the action by its full hash and write '# vX.Y.Z' after it."


RULES: tuple[Callable[[], Iterator[str]], ...] = (
    changelog_fragments,
    package_files,
    workspace_lists,
    contrib_requirements,
    packages_apart,
    pinned_requirements,
    import_cycles,
    workflows,
)


def main() -> int:
    """Print every breach; 1 where there is one."""
    breaches = [breach for rule in RULES for breach in rule()]
    for breach in breaches:
        print(breach, file=sys.stderr)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())

"""The lists of the omlab workspace that name every package, and how a new one gets into them.

Lists are edited as text: comments and order stay, and a list that cannot be found is an error before
anything is written.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from omlab.errors import UsageError

WORKSPACE = "omlab-workspace"
_AREAS = ("core", "packages", "contrib")
_ROW = re.compile(rf"\| \[omlab-[^\]]*\]\(((?:{'|'.join(_AREAS)})[^)]*)\)")
_TABLE_END = "<!-- plugins: end -->"


def find(folder: Path) -> Path:
    """The root of the workspace that `folder` lies in. Raises `UsageError` where there is none."""
    for candidate in (folder.absolute(), *folder.absolute().parents):
        path = candidate / "pyproject.toml"
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (OSError, ValueError):
            continue
        if document.get("project", {}).get("name") == WORKSPACE:
            return candidate
    raise UsageError(f"{folder.absolute()} is not in a checkout of omlab: go there, or leave --contrib out.")


def edited_lists(root: Path, *, folder: Path, module: str, summary: str, brings: str) -> dict[Path, str]:
    """The new texts of the root's lists. Raises `UsageError` where one is not as expected.

    Of a package that was removed by hand the lists may still know: it gets into each once.
    """
    distribution = folder.name
    path = root / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    text = _append(text, r"^dependencies = \[$", r"^\]$", f'    "{distribution}",\n', path)
    text = _append(text, r"^\[tool\.uv\.sources\]$", r"^$|\Z", f"{distribution} = {{ workspace = true }}\n", path)
    text = _append(text, r"^root_packages = \[$", r"^\]$", f'    "{module}",\n', path)
    layers = re.search(r'^layers = \[\n    "([^"]*)"', text, flags=re.MULTILINE)
    if layers is None:
        raise UsageError(f"{path} has no list of layers to put {module} into.")
    if module not in layers[1].split(" | "):
        text = f"{text[: layers.end(1)]} | {module}{text[layers.end(1) :]}"
    readme = root / "README.md"
    table = readme.read_text(encoding="utf-8")
    return {path: text, readme: _with_row(table, root=root, folder=folder, summary=summary, brings=brings)}


def replace_lists(lists: Mapping[Path, str]) -> None:
    """Write the edited files, each at once, and none where one cannot be written."""
    drafts = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in lists}
    try:
        for path, text in lists.items():
            drafts[path].write_text(text, encoding="utf-8")
        for path, draft in drafts.items():
            draft.replace(path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _with_row(text: str, *, root: Path, folder: Path, summary: str, brings: str) -> str:
    """The README with a package's row in its table of packages, in `python -m tools.plugin_table`'s order."""
    if _TABLE_END not in text:
        return text
    place = folder.relative_to(root).as_posix()
    row = f"| [{folder.name}]({place}) | {summary} | {brings} |\n"
    lines = [line for line in text.splitlines(keepends=True) if f"]({place})" not in line or not _ROW.match(line)]
    table = [n for n, line in enumerate(lines) if _ROW.match(line)]
    rule = next(n for n, line in enumerate(lines) if line.startswith("|---"))
    after = max((n for n in table if _order(lines[n]) < _order(row)), default=rule) + 1
    return "".join([*lines[:after], row, *lines[after:]])


def _order(row: str) -> tuple[int, str]:
    """Where a row of the table stands: core, packages, contrib, each by name."""
    area, _, name = _ROW.match(row).group(1).partition("/")  # type: ignore[union-attr]  # only rows are asked
    return _AREAS.index(area), name


def _append(text: str, begin: str, end: str, line: str, path: Path) -> str:
    """`text` with `line` as the last of the list that `begin` opens and `end` closes, where it is not in it yet."""
    opening = re.search(begin, text, flags=re.MULTILINE)
    closing = re.compile(end, flags=re.MULTILINE).search(text, opening.end() + 1) if opening else None
    if opening is None or closing is None:
        raise UsageError(f"{path} has no list to put {line.strip()} into.")
    listed = line in text[opening.end() : closing.start()].splitlines(keepends=True)
    return text if listed else text[: closing.start()] + line + text[closing.start() :]

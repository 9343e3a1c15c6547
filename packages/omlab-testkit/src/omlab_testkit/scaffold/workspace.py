"""The lists of the omlab workspace that name every package, and how a new one gets into them.

Lists are edited as text: comments and order stay, and a list that cannot be found is an error before
anything is written.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from omlab.errors import UsageError

WORKSPACE = "omlab-workspace"
_ORDER = ("model", "data set", "adapter", "evaluator", "command", "format", "payload")
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


def edited_lists(root: Path, distribution: str, module: str) -> dict[Path, str]:
    """The new text of the root `pyproject.toml`. Raises `UsageError` where a list is not as expected."""
    path = root / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    text = _append(text, r"^dependencies = \[$", r"^\]$", f'    "{distribution}",\n', path)
    text = _append(text, r"^\[tool\.uv\.sources\]$", r"^$|\Z", f"{distribution} = {{ workspace = true }}\n", path)
    text = _append(text, r"^root_packages = \[$", r"^\]$", f'    "{module}",\n', path)
    text, changed = re.subn(r'^(layers = \[\n    "[^"]*)"', rf'\1 | {module}"', text, count=1, flags=re.MULTILINE)
    if not changed:
        raise UsageError(f"{path} has no list of layers to put {module} into.")
    return {path: text}


def replace_lists(lists: Mapping[Path, str]) -> None:
    """Write the edited files, each at once."""
    for path, text in lists.items():
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)


def add_to_readme(root: Path, rows: Sequence[tuple[str, str, str]], *, card: str, folder: Path) -> None:
    """Add rows (words, summary, what it does) to the table of plugins, in `python -m tools.plugin_table`'s order."""
    path = root / "README.md"
    text = path.read_text(encoding="utf-8")
    if _TABLE_END not in text:
        return
    link = f"[{folder.name}]({folder.relative_to(root).as_posix()})"
    for words, summary, does in rows:
        text = _with_row(text, f"| {words} | `{card}` | {summary} | {does} | {link} |")
    replace_lists({path: text})


def _with_row(text: str, row: str) -> str:
    """`text` with `row` among the rows of its kind: by package (packages before contrib), then by name."""
    lines = text.splitlines(keepends=True)
    table = [n for n, line in enumerate(lines) if re.match(rf"\| ({'|'.join(_ORDER)}) \|", line)]
    rule = next(n for n, line in enumerate(lines) if line.startswith("|---"))

    def key(line: str) -> tuple[int, list[str], str]:
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        path = re.search(r"\(([^)]*)\)", cells[-1])
        area = (path.group(1) if path else "").split("/")
        rank = ["core", "packages", "contrib"].index(area[0]) if area[0] in ("core", "packages", "contrib") else 3
        return _ORDER.index(cells[0]), [str(rank), *area[1:]], cells[1]

    before = [n for n in table if key(lines[n]) < key(row)]
    place = (before[-1] if before else rule) + 1
    return "".join([*lines[:place], row + "\n", *lines[place:]])


def _append(text: str, begin: str, end: str, line: str, path: Path) -> str:
    """`text` with `line` as the last of the list that `begin` opens and `end` closes."""
    opening = re.search(begin, text, flags=re.MULTILINE)
    closing = re.compile(end, flags=re.MULTILINE).search(text, opening.end() + 1) if opening else None
    if closing is None:
        raise UsageError(f"{path} has no list to put {line.strip()} into.")
    return text[: closing.start()] + line + text[closing.start() :]

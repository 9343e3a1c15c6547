"""Which modules of a package import which of its others, at the top or inside functions.

What stands under `if TYPE_CHECKING` is never imported and does not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path


def import_graph(folder: Path) -> dict[str, set[str]]:
    """The modules below `folder`, a package's own, each with those of them that it imports."""
    modules = {_name(path, folder): path for path in sorted(folder.rglob("*.py"))}
    return {name: set(_imported(path, name, known=set(modules))) - {name} for name, path in modules.items()}


def import_cycle(graph: dict[str, set[str]]) -> list[str]:
    """A circle of modules, the first one again at its end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]  # graphlib gives each before those that import it
    return []


def _name(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, module: str, *, known: set[str]) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in _executed(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield from {inner if inner in known else base} & known


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only type checkers see."""
    yield node
    typing_only = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for child in node.orelse if isinstance(node, ast.If) and typing_only else ast.iter_child_nodes(node):
        yield from _executed(child)

"""The table of plugins in README.md, made from the packages' `cards.toml` files and the commands that they add.

python -m tools.plugin_table            rewrite the table
python -m tools.plugin_table --check    exit 1 where it is out of date

Nothing of ours is imported: a command is found where a hook says `cli.add_lazy("name", "module:command", "Help.")`.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.workspace import ROOT, Package, packages, read_toml

BEGIN = "<!-- plugins: begin (made by python -m tools.plugin_table) -->"
END = "<!-- plugins: end -->"
HEAD = ("kind", "name", "what it is", "does", "package")

Card = Mapping[str, Any]


def table() -> str:
    """The table in Markdown: one row a card or command, by kind and then by package and name."""
    rows = [row for kind in _KINDS for package in packages() for row in _rows(package, kind)]
    return "\n".join([_line(HEAD), "|---" * len(HEAD) + "|", *map(_line, rows)])


def commands(path: Path) -> list[tuple[str, str]]:
    """Name and help of the commands that a `plugin.py` adds to the command line, without running it."""
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    found = (call.args for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_lazy")
    return [(_text(name), _text(help)) for name, _, help in found]


def _rows(package: Package, kind: str) -> Iterator[tuple[str, ...]]:
    source = package.folder / "src" / package.module
    link = f"[{package.name}]({package.folder.relative_to(ROOT).as_posix()})"
    link += ", in an environment of its own" if package.apart else ""
    words, does = _KINDS[kind]
    if kind == "command":
        plugin = source / "plugin.py"
        for name, help in sorted(commands(plugin)) if plugin.is_file() else ():
            yield (words, f"`omlab {name}`", help, "", link)
        return
    cards = source / "cards.toml"
    found: list[Card] = read_toml(cards).get(kind, []) if cards.is_file() else []
    for card in sorted(found, key=lambda card: str(card["name"])):
        yield (words, f"`{card['name']}`", card["summary"], does(card), link)


def _text(node: ast.expr) -> str:
    text: str = ast.literal_eval(node)
    return text


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _model(card: Card) -> str:
    recipes = f"trains by {_names(card['trains'])}" if card.get("trains") else ""
    return "; ".join(part for part in (_names(card.get("does", {})), recipes) if part)


def _format(card: Card) -> str:
    reads, writes = card.get("reads", []), card.get("writes", [])
    acts = {"reads and writes": reads} if sorted(reads) == sorted(writes) else {"reads": reads, "writes": writes}
    return "; ".join(f"{act} {_names(kinds)}" for act, kinds in acts.items() if kinds)


def _task(card: Card) -> str:
    return str(card.get("task", ""))


def _adapter(card: Card) -> str:
    return "trains by a recipe" if card["requires"] == "recipe" else f"needs `{card['requires']}`"


_KINDS: dict[str, tuple[str, Callable[[Card], str]]] = {
    "model": ("model", _model),
    "dataset": ("data set", _task),
    "adapter": ("adapter", _adapter),
    "evaluator": ("evaluator", _task),
    "command": ("command", lambda card: ""),
    "format": ("format", _format),
    "payload": ("payload", lambda card: ""),
}


def with_table(text: str) -> str:
    """`text` with the table between its two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the marks '{BEGIN}' and '{END}' are not both there")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def main(path: Path = ROOT / "README.md") -> int:
    """Rewrite or check the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the table is out of date")
    asked = parser.parse_args()
    text = path.read_text(encoding="utf-8")
    wanted = with_table(text)
    if text == wanted:
        return 0
    if asked.check:
        print(f"The plugin table in {path.name} is out of date: run 'python -m tools.plugin_table'.", file=sys.stderr)
        return 1
    path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

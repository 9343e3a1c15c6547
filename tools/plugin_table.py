"""The table of packages in README.md, made from their `pyproject.toml`, their `cards.toml` and the commands they add.

python -m tools.plugin_table            rewrite the table
python -m tools.plugin_table --check    exit 1 where it is out of date

Nothing of ours is imported: a command is found where a hook says `cli.add_lazy("name", "module:command", "Help.")`.
What is for demonstrations alone is left out; `omlab list --all` shows it.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.workspace import ROOT, Package, packages, read_toml

BEGIN = "<!-- plugins: begin (made by python -m tools.plugin_table) -->"
END = "<!-- plugins: end -->"
HEAD = ("package", "what it is", "what it brings")
WORDS = {
    "model": ("model", "models"),
    "dataset": ("data set", "data sets"),
    "adapter": ("adapter", "adapters"),
    "evaluator": ("evaluator", "evaluators"),
    "format": ("format", "formats"),
    "payload": ("kind", "kinds"),
}
"""What the kinds of cards are called, one and several."""


def table() -> str:
    """The table in Markdown: one row a package, core first, each area by name."""
    return "\n".join([_line(HEAD), "|---" * len(HEAD) + "|", *(_line(_row(package)) for package in packages())])


def commands(path: Path) -> list[tuple[str, str]]:
    """Name and help of the commands that a `plugin.py` adds to the command line, without running it."""
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    found = (call.args for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_lazy")
    return [(_text(name), _text(help)) for name, _, help in found]


def _row(package: Package) -> tuple[str, str, str]:
    link = f"[{package.name}]({package.folder.relative_to(ROOT).as_posix()})"
    description = str(read_toml(package.folder / "pyproject.toml")["project"]["description"])
    return link, description, "; ".join(_brought(package))


def _brought(package: Package) -> Iterator[str]:
    """Names of what a package brings, kind by kind."""
    source = package.folder / "src" / package.module
    cards = read_toml(source / "cards.toml") if (source / "cards.toml").is_file() else {}
    for kind, words in WORDS.items():
        names = sorted(str(card["name"]) for card in cards.get(kind, []) if not card.get("demonstration"))
        if names:
            yield f"{words[len(names) > 1]} {_names(names)}"
    added = sorted(commands(source / "plugin.py")) if (source / "plugin.py").is_file() else []
    if added:
        yield f"{'commands' if len(added) > 1 else 'command'} {_names(f'omlab {name}' for name, _ in added)}"


def _text(node: ast.expr) -> str:
    text: str = ast.literal_eval(node)
    return text


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


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

"""The table of plugins in README.md, made from the packages' `cards.toml` files.

python -m tools.plugin_table            rewrite the table
python -m tools.plugin_table --check    exit 1 where it is out of date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.workspace import ROOT, Package, packages, read_toml

BEGIN = "<!-- plugins: begin (made by python -m tools.plugin_table) -->"
END = "<!-- plugins: end -->"
KINDS = ("model", "dataset", "adapter", "evaluator", "format")


def table() -> str:
    """The table in Markdown: one row a card, by kind and then by package and name."""
    rows = [row for kind in KINDS for package in packages() for row in _rows(package, kind)]
    return "\n".join(["| kind | name | what it is | package |", "|---|---|---|---|", *rows])


def _rows(package: Package, kind: str) -> list[str]:
    cards = package.folder / "src" / package.module / "cards.toml"
    if not cards.is_file():
        return []
    link = f"[{package.name}]({package.folder.relative_to(ROOT).as_posix()})"
    found = sorted(read_toml(cards).get(kind, []), key=lambda card: str(card["name"]))
    words = "data set" if kind == "dataset" else kind
    return [f"| {words} | `{card['name']}` | {card['summary']} | {link} |" for card in found]


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
    text = path.read_text(encoding="utf-8")
    wanted = with_table(text)
    if text == wanted:
        return 0
    if parser.parse_args().check:
        print(f"The plugin table in {path.name} is out of date: run 'python -m tools.plugin_table'.", file=sys.stderr)
        return 1
    path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

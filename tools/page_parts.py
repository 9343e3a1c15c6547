"""What pages made from cards are put together of: tables, tables that can be filtered, settings, lists of links."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping

from omlab.card_schema import Setting, Settings


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; cells may hold Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def filtered(head: Iterable[str], rows: Iterable[tuple[str, ...]], *, by: Iterable[str]) -> str:
    """A table in HTML that `filter.js` filters by the columns `by` and by words. Its first cells are HTML: links."""
    heading = "".join(f"<th>{name}</th>" for name in head)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in (link, *map(html.escape, cells))) + "</tr>"
        for link, *cells in rows
    )
    return (
        f'<table data-filter="{" ".join(by)}">\n<thead><tr>{heading}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n'
    )


def settings_table(settings: Settings) -> str:
    """What may be set, in Markdown."""
    return table(
        ("setting", "default", "what it does"),
        [(f"`{name}`", _default(one), f"{one.help}{_choices(one)}") for name, one in settings.items()],
    )


def _default(setting: Setting) -> str:
    return "empty" if setting.default in ("", []) else f"`{setting.default}`"


def _choices(setting: Setting) -> str:
    return f" (one of {', '.join(f'`{value}`' for value in setting.choices)})" if setting.choices else ""


def facts_list(rows: Mapping[str, str]) -> str:
    """Facts by their names, a definition list in Markdown; those that are empty are left out."""
    return "\n\n".join(f"{name}\n:   {text}" for name, text in rows.items() if text)


def sentence(text: str) -> str:
    """`text` with one full stop at its end."""
    return text.rstrip(".") + "."

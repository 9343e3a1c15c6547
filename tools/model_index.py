"""The index of models: what there is by modality, organ and task, and all models as a table that can be filtered."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlencode

from omlab.card_schema import ModelCard
from tools import catalogue
from tools.model_pages import tasks
from tools.page_parts import filtered

OFTEN = 10  # models: a task of more gets a column of its own
ANY = "any"


def page() -> str:
    """The page `models.md`."""
    cards = [(catalogue.package("model", card.name).removeprefix("omlab-"), card) for card in catalogue.models()]
    packages = len({package for package, _ in cards})
    rows = [
        (
            f'<a href="models/{facts.name}.html">{facts.name}</a>',
            ", ".join(facts.modalities) or ANY,
            ", ".join(facts.organs) or ANY,
            ", ".join(tasks(facts)),
            ", ".join([*facts.does, *facts.trains]),
            package,
            facts.summary,
        )
        for package, facts in cards
    ]
    head = ("model", "modality", "organ", "task", "verbs and recipes", "package", "what it is")
    return "\n\n".join(
        [
            "---\nhide: [toc]\n---",
            "# Models",
            f"{len(cards)} models of {packages} packages, by what they were made for. A name leads to its models.",
            _spectrum(cards),
            "## All of them",
            "`omlab list --modality ct --verb predict` asks the same of what is installed; "
            "`omlab info MODEL` shows what its page shows.",
            filtered(head, rows, by=("modality", "organ", "task", "package")),
        ]
    )


def _spectrum(cards: list[tuple[str, ModelCard]]) -> str:
    """Packages by modality and organ (rows) and task (columns; those of few models share the last one)."""
    cells: dict[tuple[str, str, str], dict[str, None]] = {}
    sizes: Counter[str] = Counter()
    for package, facts in cards:
        sizes.update(tasks(facts))
        for modality in facts.modalities or [ANY]:
            for organ in facts.organs or [ANY]:
                for task in tasks(facts):
                    cells.setdefault((modality, organ, task), {})[package] = None
    often = [task for task, number in sizes.most_common() if number > OFTEN]
    rare = sorted(sizes.keys() - set(often))
    lines = []
    for modality, organ in sorted({(modality, organ) for modality, organ, _ in cells}, key=_any_last):
        columns = [_names(cells, (modality, organ, task)) for task in often]
        others = [f"{task}: {found}" for task in rare if (found := _names(cells, (modality, organ, task)))]
        row = [*columns, "; ".join(others)]
        lines.append(f"<tr><th>{modality}</th><th>{organ}</th>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("modality", "organ", *often, "other tasks"))
    body = "\n".join(lines)
    return (
        f'<div class="omlab-spectrum"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def _any_last(pair: tuple[str, str]) -> tuple[bool, str, bool, str]:
    modality, organ = pair
    return modality == ANY, modality, organ == ANY, organ


def _names(cells: dict[tuple[str, str, str], dict[str, None]], key: tuple[str, str, str]) -> str:
    asked = dict(zip(("modality", "organ", "task"), key, strict=True))
    links = {name: urlencode(asked | {"package": name}).replace("&", "&amp;") for name in cells.get(key, ())}
    return ", ".join(f'<a href="?{query}#all-of-them">{name}</a>' for name, query in links.items())

"""A page for each kind of card but models': data sets, adapters, evaluators, formats and kinds, made from the cards.

Each opens with a table of all, which can be filtered, and has a section for each card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

from omlab.card_schema import (
    AdapterCard,
    BaseCard,
    DatasetCard,
    EvaluatorCard,
    FormatCard,
    ModelCard,
    PayloadCard,
    validate,
)
from omlab.cards import Kind
from omlab.registry import registry
from tools import catalogue
from tools.page_parts import facts_list, filtered, sentence, settings_table

T = TypeVar("T", bound=BaseCard)


def pages() -> Iterator[tuple[str, str]]:
    """Paths and texts of all pages."""
    yield (
        "datasets.md",
        _page(
            "dataset",
            "Data sets",
            "Published data sets, and readers of your own files ([Your own data](own-data.md)).",
            head=("data set", "task", "inputs", "targets", "what it is"),
            by=("task", "inputs"),
            row=lambda card: (card.task or "any", ", ".join(card.inputs.values()) or "any", card.target or "-"),
            section=_dataset,
        ),
    )
    yield (
        "adapters.md",
        _page(
            "adapter",
            "Adapters",
            "Which weights move, and how; [Training](training.md) tells more.",
            head=("adapter", "requires", "what it is"),
            by=("requires",),
            row=lambda card: (card.requires,),
            section=_adapter,
        ),
    )
    yield (
        "evaluators.md",
        _page(
            "evaluator",
            "Evaluators",
            "What `omlab evaluate` judges results by: the one for the task of the data unless you name one.",
            head=("evaluator", "task", "judges", "what it is"),
            by=("task", "judges"),
            row=lambda card: (card.task, ", ".join(catalogue.judged(card))),
            section=_evaluator,
        ),
    )
    yield (
        "formats.md",
        _page(
            "format",
            "Formats",
            "Files that omlab reads and writes. `--as FORMAT` chooses how results are written.",
            head=("format", "reads", "writes", "files", "what it is"),
            by=("reads", "writes"),
            row=lambda card: (", ".join(card.reads), ", ".join(card.writes), ", ".join(card.suffixes)),
            section=_format,
        ),
    )
    yield (
        "kinds.md",
        _page(
            "payload",
            "Kinds",
            "What models take and give, and who reads, makes and judges it.",
            head=("kind", "read from", "what it is"),
            by=(),
            row=lambda card: (", ".join(f.name for f in catalogue.formats() if card.name in f.reads) or "-",),
            section=_kind,
        ),
    )


def _page(
    kind: Kind,
    title: str,
    about: str,
    *,
    head: tuple[str, ...],
    by: tuple[str, ...],
    row: Callable[[T], tuple[str, ...]],
    section: Callable[[T], Iterable[str]],
) -> str:
    found = [cast(T, validate(card)) for card in registry().cards(kind)]
    rows = [(f'<a href="#{card.name}">{card.name}</a>', *row(card), card.summary) for card in found]
    parts = [f"# {title}", about, filtered(head, rows, by=by)]
    for card in found:
        parts += [f"## {card.name}", sentence(card.summary), *section(card), _from(card, kind=kind)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _from(card: BaseCard, *, kind: Kind) -> str:
    """What every section ends with: settings, and where it comes from."""
    rows = {
        "package": f"`pip install {catalogue.package(kind, card.name)}`",
        "licence of the code": card.licence,
        "cite": card.citation or "",
        "authors' page": f"<{card.homepage}>" if card.homepage else "",
    }
    return "\n\n".join([*([settings_table(card.settings)] if card.settings else []), facts_list(rows)])


def _dataset(card: DatasetCard) -> Iterator[str]:
    if card.own:
        yield f"```sh\nomlab datasets verify {card.name} PATH\n```"
    else:
        yield f"```sh\nomlab datasets prepare {card.name} --root FOLDER\n```"
    yield facts_list(
        {
            "inputs": ", ".join(f"`{name}` ({_kinds([kind])})" for name, kind in card.inputs.items()),
            "targets": _kinds([card.target] if card.target else []),
            "task": card.task or "",
            "splits": ", ".join(card.splits),
            "evaluators": _links("evaluators", (one for one in catalogue.evaluators() if one.task == card.task)),
            "licence of the data": card.data_licence,
        }
    )


def _adapter(card: AdapterCard) -> Iterator[str]:
    yield f"```sh\nomlab adapt MODEL --data cases:train.csv --adapter {card.name} -o mine/\n```"
    yield facts_list(
        {
            "requires": "a recipe" if card.requires == "recipe" else f"the verb `{card.requires}`",
            "tasks": ", ".join(card.tasks),
            "then": ", ".join(f"{verb} gives {_kinds([kind])}" for verb, kind in card.gives.items()),
            "models": _models(one for one in catalogue.models() if catalogue.fits(card, one)),
        }
    )


def _evaluator(card: EvaluatorCard) -> Iterator[str]:
    yield f"```sh\nomlab evaluate MODEL --data cases:test.csv --evaluator {card.name} -o report/\n```"
    pairs = {card.judges: card.target, **card.also}
    yield facts_list(
        {
            "task": card.task,
            "judges": ", ".join(f"{_kinds([result])} against {_kinds([target])}" for result, target in pairs.items()),
            "data sets": _links("datasets", (one for one in catalogue.datasets() if one.task == card.task)),
        }
    )


def _format(card: FormatCard) -> Iterator[str]:
    if card.writes:
        yield f"```sh\nomlab predict MODEL INPUT --as {card.name} -o out/\n```"
    yield facts_list(
        {
            "reads": _kinds(card.reads),
            "writes": _kinds(card.writes),
            "files": ", ".join(f"`{suffix}`" for suffix in card.suffixes) + (", folders" if card.folders else ""),
            "unless another is chosen": _kinds(card.default_for),
            "written beside results of": _links(
                "formats", (one for one in catalogue.formats() if one.name in card.beside)
            ),
            "one file for all cases of": _kinds(card.collects),
        }
    )


def _kind(card: PayloadCard) -> Iterator[str]:
    name = card.name
    yield facts_list(
        {
            "read from": _links("formats", (one for one in catalogue.formats() if name in one.reads)),
            "written to": _links("formats", (one for one in catalogue.formats() if name in one.writes)),
            "taken by": _models(
                m for m in catalogue.models() if any(name in verb.kinds.values() for verb in m.does.values())
            ),
            "given by": _models(m for m in catalogue.models() if any(name == verb.gives for verb in m.does.values())),
            "judged by": _links("evaluators", (one for one in catalogue.evaluators() if name in catalogue.judged(one))),
        }
    )


def _kinds(names: Iterable[str]) -> str:
    return ", ".join(f"[{name}](kinds.md#{name})" for name in names)


def _links(page: str, cards: Iterable[BaseCard]) -> str:
    return ", ".join(f"[{card.name}]({page}.md#{card.name})" for card in cards)


def _models(cards: Iterable[ModelCard]) -> str:
    return ", ".join(f"[{card.name}](models/{card.name}.md)" for card in cards)

"""How this package answers golden files: what is read out of answers as the public code does, and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from omlab_medbench import compat
from omlab_medbench.metrics import (
    macro_of,
    macro_tally,
    mean_tally,
    precision_recall_f1,
    rouge_l,
    set_f1_tally,
)
from omlab_medbench.tokens import tokens
from omlab_testkit.expected import Answer, answer_parts, difference

Row = Mapping[str, Any]
Reader = Callable[[Row], dict[str, Any]]


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file, by its parts."""
    readers: dict[str, tuple[Reader, set[str]]] = {
        "choice": (_choice, {"text"}),
        "entities": (lambda row: {"items": compat.entities(row["text"])}, {"text"}),
        "relations": (lambda row: {"items": compat.relations(row["text"])}, {"text"}),
        "events": (lambda row: {"items": compat.events(row["text"])}, {"text"}),
        "record": (lambda row: {"items": compat.record(row["text"])}, {"text"}),
        "set_f1": (_set_f1, {"gold", "pred"}),
        "macro_f1": (_macro_f1, {"gold", "pred", "labels"}),
        "rouge_l": (_rouge_l, {"gold", "pred"}),
        "cloze": (lambda row: {"correct": compat.cloze(row["pred"], row["gold"])}, {"pred", "gold"}),
        "yes_no": (lambda row: {"label": compat.yes_no(row["pred"])}, {"pred"}),
    }
    answers: dict[str, Answer] = {
        name: partial(_rows, reader=reader, about=about) for name, (reader, about) in readers.items()
    }
    return answer_parts(case, answers, about={"reference", "about", "note"})


def _rows(part: list[Row], case: Row, *, reader: Reader, about: set[str]) -> float:
    """The largest difference over the rows of a part; `about` are the inputs of a row."""
    far = []
    for row in part:
        found = reader(row)
        unknown = [name for name in row if name not in found and name not in about]
        if unknown:
            raise KeyError(unknown[0])
        wanted = {name: value for name, value in row.items() if name in found}
        far.append(difference({name: found[name] for name in wanted}, wanted))
    return max(far)


def _choice(row: Row) -> dict[str, Any]:
    return {"letters": compat.letters(row["text"]), "first": compat.first_letter(row["text"])}


def _figures(figures: tuple[Any, Any, Any]) -> dict[str, Any]:
    return dict(zip(("precision", "recall", "f1"), map(float, figures), strict=True))


def _set_f1(row: Row) -> dict[str, Any]:
    tally = set_f1_tally(row["gold"], row["pred"])
    return _figures(precision_recall_f1(tally.parts.sum(axis=0))) | {"f1": tally.score}


def _macro_f1(row: Row) -> dict[str, Any]:
    """A blank answer counts as the first of the labels."""
    tally = macro_tally(row["gold"], row["pred"], first_label=row["labels"][0])
    return _figures(macro_of(tally.parts.sum(axis=0).reshape(-1, 3))) | {"f1": tally.score}


def _rouge_l(row: Row) -> dict[str, Any]:
    pairs = list(zip(row["gold"], row["pred"], strict=True))
    return {
        "tokens": [[" ".join(tokens(text)) for text in pair] for pair in pairs],
        "rouge_l": mean_tally([rouge_l(*pair) for pair in pairs]).score,
    }

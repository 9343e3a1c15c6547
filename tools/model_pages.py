"""A page for every model card, and the index of them: made from the cards when the site is built."""

from __future__ import annotations

import csv
import html
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import cast

from omlab.card_schema import FormatCard, ModelCard, Setting, Settings, Training, Verb, Weights, validate
from omlab.cards import Card
from omlab.registry import registry
from omlab_data.tasks import TASKS
from tools.workspace import ROOT

COSTS = ROOT / "docs" / "costs.csv"
PICTURES = ROOT / "docs" / "images" / "models"
OWN_COMMANDS = ("predict", "embed", "score", "generate", "register", "explain")


def models() -> list[Card]:
    """The cards that get a page: all but those for tests and demonstrations."""
    return [card for card in registry().cards("model") if not card.data.get("demonstration")]


def pages() -> Iterator[tuple[str, str]]:
    """Paths and texts of all pages."""
    yield "models.md", index()
    for card in models():
        yield f"models/{card.name}.md", page(card)


def page(card: Card) -> str:
    """All about one model."""
    facts = cast(ModelCard, validate(card))
    parts = [
        f"# {facts.name}",
        facts.summary + ("" if facts.summary.endswith(".") else "."),
        _picture(card),
        _glance(card, facts),
        "## Run it",
        *_running(facts),
        *_training(facts),
        *_settings(facts),
        *_weights(facts),
        *_costs(facts),
        "## Meant for",
        facts.intended_use,
        "## Limits",
        facts.limits,
        "## Cite",
        facts.citation,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _picture(card: Card) -> str:
    found = PICTURES / f"{card.distribution}.png"
    told = found.with_suffix(".txt")
    return f"![{told.read_text(encoding='utf-8').strip()}](../images/models/{found.name})" if found.is_file() else ""


def _glance(card: Card, facts: ModelCard) -> str:
    rows = {
        "made for": ", ".join([*facts.modalities, *facts.organs]) or "no one modality in particular",
        "tasks": ", ".join(tasks(facts)),
        "package": f"`pip install {card.distribution}`",
        "parameters": f"{facts.parameters:,}" if facts.parameters else "",
        "licence of the code": facts.licence,
        "needs": ", ".join(f"`{name.removesuffix('?')}`" for name in facts.needs.values()),
        "same network for other inputs": ", ".join(f"[{name}]({name}.md)" for name in facts.also),
        "authors' page": f"<{facts.homepage}>" if facts.homepage else "",
    }
    return "\n".join(f"- **{name}**: {text}" for name, text in rows.items() if text)


def tasks(facts: ModelCard) -> list[str]:
    """What it can do, at once or after training: the tasks of what it predicts, and its other verbs."""
    known = {str(card.data["task"]) for card in registry().cards("evaluator")}
    given = {name: training.gives["predict"] for name, training in facts.trains.items() if "predict" in training.gives}
    found = {recipe if recipe in known else _task(kind) for recipe, kind in given.items()}
    if "predict" in facts.does:
        found.add(_task(facts.does["predict"].gives))
    others = {name for name in facts.does if name not in ("predict", "explain")}
    return sorted(found | others)


def _task(kind: str) -> str:
    """The task of predictions of a kind: one that is too large for memory is of the same."""
    return TASKS.get(kind.removeprefix("big-"), kind)


def _running(facts: ModelCard) -> Iterator[str]:
    for name, verb in facts.does.items():
        yield _verb(name, verb)
        yield f"```sh\n{command(facts, name)}\n```"
        if verb.options:
            yield _settings_table(verb.options)
    if facts.does:
        yield "The same from Python:"
        yield f"```python\n{python(facts)}\n```"


def _verb(name: str, verb: Verb) -> str:
    takes = ", ".join(
        f"`{word}` ({kind.removesuffix('?')}{', may be left out' if kind.endswith('?') else ''})"
        for word, kind in verb.takes.items()
    )
    grid = f", on the grid of `{verb.grid}`" if verb.grid else ""
    return f"**{name}** takes {takes} and gives {verb.gives}{grid}."


def command(facts: ModelCard, verb: str) -> str:
    """The line that a user types for a verb, with files named as its inputs."""
    does = facts.does[verb]
    first, *others = (file_name(name, does.kinds[name]) for name in does.required)
    words = ["omlab", *([verb] if verb in OWN_COMMANDS else ["do", verb]), facts.name, first]
    words += [f"{name}={path}" for name, path in zip(does.required[1:], others, strict=True)]
    return " ".join([*words, "-o", file_name(does.gives, does.gives)])


def python(facts: ModelCard) -> str:
    """The lines of Python for the first verb."""
    verb, does = next(iter(facts.does.items()))
    reads = [f'{name} = omlab.read("{file_name(name, does.kinds[name])}")' for name in does.required]
    first, *others = does.required
    call = ", ".join([first, *(f"{name}={name}" for name in others)])
    return "\n".join(
        [
            "import omlab",
            "",
            f'session = omlab.load_model("{facts.name}")',
            *reads,
            f'omlab.write(session.{verb}({call}), "{file_name(does.gives, does.gives)}")',
        ]
    )


def file_name(name: str, kind: str) -> str:
    """`name` as a file of the format that is used for the kind unless one is chosen."""
    return name + next(iter(_suffixes(kind)), "")


@cache
def _suffixes(kind: str) -> tuple[str, ...]:
    cards = [cast(FormatCard, validate(card)) for card in registry().cards("format")]
    usual = [card for card in cards if kind in card.default_for]
    return tuple(suffix for card in usual or [card for card in cards if kind in card.reads] for suffix in card.suffixes)


def _training(facts: ModelCard) -> Iterator[str]:
    if facts.trains:
        yield "## Train it"
    for name, training in facts.trains.items():
        yield f"**{name}**: {_recipe(training)}"
        line = f"omlab adapt {facts.name} --recipe {name} \\\n    --data cases:train.csv --adapter finetune -o mine/"
        yield f"```sh\n{line}\n```"
        if training.settings:
            yield _settings_table(training.settings)


def _recipe(training: Training) -> str:
    summary = training.summary.rstrip(".") + "." if training.summary else ""
    target = f"Needs a column of targets of the kind {training.target}." if training.target else "Needs no targets."
    gives = "".join(f" Then {verb} gives {kind}." for verb, kind in training.gives.items())
    return f"{summary} {target}{gives}".strip()


def _settings(facts: ModelCard) -> Iterator[str]:
    if facts.settings:
        yield "## Settings"
        yield "`-s NAME=VALUE` on the command line, `settings={...}` in `omlab.load_model`."
        yield _settings_table(facts.settings)


def _settings_table(settings: Settings) -> str:
    return _table(
        ("setting", "default", "what it does"),
        [(f"`{name}`", f"`{one.default}`", f"{one.help}{_choices(one)}") for name, one in settings.items()],
    )


def _choices(setting: Setting) -> str:
    return f" (one of {', '.join(f'`{value}`' for value in setting.choices)})" if setting.choices else ""


def _weights(facts: ModelCard) -> Iterator[str]:
    if not facts.weights:
        return
    yield "## Weights"
    yield f"`omlab predict {facts.name}.TAG ...` takes them by their tag; the default is `{facts.default_weights}`."
    for tag, weights in facts.weights.items():
        yield f"**{tag}**: {weights.summary.rstrip('.')}. Licence: {weights.licence.rstrip('.')}."
        if weights.files:
            yield _files(weights)
        else:
            yield f"From <{weights.repository or weights.endpoint}>."
        yield from _claims(weights)


def _files(weights: Weights) -> str:
    rows = []
    for file in weights.files:
        size = f"{file.size / 1e6:,.0f} MB" if file.size else f"about {(file.approximate_size or 0) / 1e6:,.0f} MB"
        rows.append((f"`{file.name}`", size, f"`{file.sha256}`" if file.sha256 else "not told by its authors"))
    return _table(("file", "size", "sha256"), rows)


def _claims(weights: Weights) -> Iterator[str]:
    if weights.claims:
        rows = [(c.metric, f"{c.value:g}", c.data, c.evaluator, c.source) for c in weights.claims]
        yield "Published figures, repeated by `omlab claims`:"
        yield _table(("metric", "value", "on", "evaluator", "source"), rows)


def _costs(facts: ModelCard) -> Iterator[str]:
    rows = [row for row in costs() if row["model"] == facts.name]
    if rows:
        yield "## What it costs"
        yield f"Measured with weights drawn at random on {rows[0]['machine']}, {rows[0]['threads']} thread, float32:"
        yield _table(
            ("verb", "input", "processor time", "peak memory"),
            [(row["verb"], row["input"], f"{float(row['seconds']):.2g} s", f"{row['peak_mib']} MiB") for row in rows],
        )


@cache
def costs() -> tuple[Mapping[str, str], ...]:
    """The rows of `docs/costs.csv`, which `python -m tools.costs` measures."""
    if not COSTS.is_file():
        return ()
    with COSTS.open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def index() -> str:
    """All models by modality, organ and task, as a table that can be filtered."""
    cards = [(card, cast(ModelCard, validate(card))) for card in models()]
    rows = [
        [
            f'<a href="models/{facts.name}.html">{facts.name}</a>',
            ", ".join(facts.modalities) or "any",
            ", ".join(facts.organs) or "any",
            ", ".join(tasks(facts)),
            ", ".join([*facts.does, *facts.trains]),
            html.escape(facts.summary),
        ]
        for _, facts in cards
    ]
    head = ("model", "modality", "organ", "task", "verbs and recipes", "what it is")
    heading = "".join(f"<th>{name}</th>" for name in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    packages_of = len({card.distribution for card, _ in cards})
    return (
        f"---\nhide: [toc]\n---\n\n# Models\n\n{len(cards)} models of {packages_of} packages.\n\n"
        "`omlab list --modality ct --verb predict` asks the same of what is installed; "
        "`omlab info MODEL` shows what its page shows.\n\n"
        f'<table data-filter="modality organ task">\n<thead><tr>{heading}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table>\n"
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())

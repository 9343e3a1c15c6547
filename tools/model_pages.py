"""A page for every model card: made from the cards when the site is built."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from omlab.card_schema import ModelCard, Training, Verb, Weights, WeightsFile
from omlab.formats import format_cards, suffix_of
from omlab_data.tasks import TASKS
from tools import catalogue
from tools.page_parts import facts_list, sentence, settings_table, table
from tools.workspace import ROOT

COSTS = ROOT / "docs" / "costs.csv"
PICTURES = ROOT / "docs" / "images" / "models"
OWN_COMMANDS = ("predict", "embed", "score", "generate", "register", "explain")


def pages() -> Iterator[tuple[str, str]]:
    """Paths and texts of all pages."""
    for card in catalogue.models():
        yield f"models/{card.name}.md", page(card)


def page(facts: ModelCard) -> str:
    """All about one model."""
    package = catalogue.package("model", facts.name)
    parts = [
        f"# {facts.name}",
        sentence(facts.summary),
        _picture(package),
        _glance(facts, package=package),
        "## Run it",
        *_running(facts),
        *_training(facts),
        *_judging(facts),
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


def _picture(package: str) -> str:
    found = PICTURES / f"{package}.webp"
    told = found.with_suffix(".txt")
    if not found.is_file():
        return ""
    place = f"../images/models/{found.name}"
    return f"[![]({place})]({place})\n\n*{sentence(told.read_text(encoding='utf-8').strip())}*"


def _glance(facts: ModelCard, *, package: str) -> str:
    return facts_list(
        {
            "made for": _made_for(facts),
            "tasks": ", ".join(tasks(facts)),
            "takes and gives": "; ".join(
                f"{name}: {', '.join(_kind(verb.kinds[word]) for word in verb.required)} → {_kind(verb.gives)}"
                for name, verb in facts.does.items()
            ),
            "weights": _weights_at_a_glance(facts),
            "licence of the weights": "; ".join(
                dict.fromkeys(one.licence.rstrip(".") for one in facts.weights.values())
            ),
            "licence of the code": facts.licence,
            "time and memory": _costs_at_a_glance(facts),
            "to train": ", ".join(f"[{name}](#train-it)" for name in facts.trains),
            "parameters": f"{facts.parameters:,}" if facts.parameters else "",
            "needs": ", ".join(f"`{name.removesuffix('?')}`" for name in facts.needs.values()),
            "same network for other inputs": ", ".join(f"[{name}]({name}.md)" for name in facts.also),
            "package": f"`pip install {package}`, [about it](../packages/{package}.md), "
            f"[its changes](../changelog.md#{package})",
            "authors' page": f"<{facts.homepage}>" if facts.homepage else "",
        }
    )


def _made_for(facts: ModelCard) -> str:
    """Modalities and organs, each a link to the models for it."""
    asked = [*(("modality", name) for name in facts.modalities), *(("organ", name) for name in facts.organs)]
    links = (f"[{name}](../models.md?{column}={name}#all-of-them)" for column, name in asked)
    return ", ".join(links) or "no one modality in particular"


def _weights_at_a_glance(facts: ModelCard) -> str:
    if not facts.weights:
        untrained = "none are published, and an untrained network's answers say nothing: [train it](#train-it) first"
        return untrained if facts.trains else ""
    tags = ", ".join(f"[{tag}](#weights)" for tag in facts.weights)
    if facts.default_weights in facts.weights:
        return f"{tags}; unless you name one, `{facts.default_weights}`" if len(facts.weights) > 1 else tags
    return f"{tags}; name one (`{facts.name}.{next(iter(facts.weights))}`), else the network is untrained"


def _costs_at_a_glance(facts: ModelCard) -> str:
    rows = [row for row in costs() if row["model"] == facts.name]
    found = [f"{row['verb']} {_seconds(row)} and {row['peak_mib']} MiB for {_a(row['input'])}" for row in rows]
    return f"{'; '.join(found)}, on one processor core ([more](#what-it-costs))" if found else ""


def _seconds(row: Mapping[str, str]) -> str:
    seconds = float(row["seconds"])
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _a(thing: str) -> str:
    """A thing with its article, but for a number of things."""
    return thing if thing[0].isdigit() else f"{'an' if thing[0] in 'aeio' else 'a'} {thing}"


def tasks(facts: ModelCard) -> list[str]:
    """What it can do, at once or after training: the tasks of what it predicts, and its other verbs."""
    known = {card.task for card in catalogue.evaluators()}
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
    if facts.default_weights not in facts.weights and facts.trains:
        published = [f"`{facts.name}.{tag}` for published weights" for tag in [*facts.weights][:1]]
        others = ", or ".join([*published, "the folder of a model that you trained"])
        yield f"By its name alone the network is untrained: write {others}."
    for name, verb in facts.does.items():
        yield _verb(name, verb)
        yield f"```sh\n{command(facts, name)}\n```"
        if verb.options:
            yield settings_table(verb.options)
    if facts.does:
        yield "The same from Python:"
        yield f"```python\n{python(facts)}\n```"


def _verb(name: str, verb: Verb) -> str:
    takes = ", ".join(
        f"`{word}` ({_kind(kind.removesuffix('?'))}{', may be left out' if kind.endswith('?') else ''})"
        for word, kind in verb.takes.items()
    )
    grid = f", on the grid of `{verb.grid}`" if verb.grid else ""
    return f"**{name}** takes {takes} and gives {_kind(verb.gives)}{grid}."


def _kind(name: str) -> str:
    """A link to what is said of a kind."""
    return f"[{name}](../kinds.md#{name})"


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
    reads = [f"{name} = {_read(name, does.kinds[name])}" for name in does.required]
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


def _read(name: str, kind: str) -> str:
    """The call that reads a file of that kind, which is named where another kind has files of that name too."""
    path = file_name(name, kind)
    readers = (card for card in format_cards() if card.reads and card.folders != "only")
    likeliest = next((card.reads[0] for card in readers if suffix_of(Path(path), [card])), kind)
    return f'omlab.read("{path}")' if likeliest == kind else f'omlab.read("{path}", kind="{kind}")'


def file_name(name: str, kind: str) -> str:
    """`name` as a file of the format that is used for the kind unless one is chosen."""
    return name + next(iter(_suffixes(kind)), "")


@cache
def _suffixes(kind: str) -> tuple[str, ...]:
    cards = catalogue.formats()
    usual = [card for card in cards if kind in card.default_for]
    readers = [card for card in cards if kind in card.reads and card.folders != "only"]
    return tuple(suffix for card in usual or readers for suffix in card.suffixes)


def _training(facts: ModelCard) -> Iterator[str]:
    adapters = [adapter.name for adapter in catalogue.adapters() if catalogue.fits(adapter, facts)]
    if facts.trains or adapters:
        yield "## Train it"
    for name, training in facts.trains.items():
        yield f"**{name}**: {_recipe(training)}"
        line = f"omlab adapt {facts.name} --recipe {name} \\\n    --data cases:train.csv --adapter finetune -o mine/"
        yield f"```sh\n{line}\n```"
        if training.settings:
            yield settings_table(training.settings)
    if adapters and not facts.trains:
        yield f"```sh\nomlab adapt {facts.name} --data cases:train.csv --adapter {adapters[0]} -o mine/\n```"
    if adapters:
        yield f"Adapters that work with it: {_links(adapters, 'adapters')}."


def _judging(facts: ModelCard) -> Iterator[str]:
    kinds = {verb.gives for verb in facts.does.values()}
    kinds |= {kind for training in facts.trains.values() for kind in training.gives.values()}
    found = [card.name for card in catalogue.evaluators() if kinds & {*catalogue.judged(card)}]
    if found:
        yield "## Judge it"
        yield f"```sh\nomlab evaluate {facts.name} --data cases:test.csv -o report/\n```"
        yield f"Evaluators of what it gives, at once or after training: {_links(found, 'evaluators')}."


def _links(names: Iterable[str], page: str) -> str:
    return ", ".join(f"[{name}](../{page}.md#{name})" for name in names)


def _recipe(training: Training) -> str:
    summary = sentence(training.summary) if training.summary else ""
    target = (
        f"Needs a column of targets of the kind {_kind(training.target)}." if training.target else "Needs no targets."
    )
    gives = "".join(f" Then {verb} gives {_kind(kind)}." for verb, kind in training.gives.items())
    return f"{summary} {target}{gives}".strip()


def _settings(facts: ModelCard) -> Iterator[str]:
    if facts.settings:
        yield "## Settings"
        yield "`-s NAME=VALUE` on the command line, `settings={...}` in `omlab.load_model`."
        yield settings_table(facts.settings)


def _weights(facts: ModelCard) -> Iterator[str]:
    if not facts.weights:
        return
    yield "## Weights"
    yield f"`omlab predict {facts.name}.TAG ...` takes them by their tag; the default is `{facts.default_weights}`."
    for tag, weights in facts.weights.items():
        yield f"**{tag}**: {sentence(weights.summary)} Licence: {sentence(weights.licence)}"
        if weights.files:
            yield _files(weights)
        else:
            yield f"From <{weights.repository or weights.endpoint}>."
        yield from _claims(weights)


def _files(weights: Weights) -> str:
    rows = []
    for file in weights.files:
        size = f"{file.size / 1e6:,.0f} MB" if file.size else f"about {(file.approximate_size or 0) / 1e6:,.0f} MB"
        rows.append((_place(file), size, _digest(file)))
    return table(("file", "size", "sha256"), rows)


def _digest(file: WeightsFile) -> str:
    return f'<code class="omlab-long">{file.sha256}</code>' if file.sha256 else "not told by its authors"


def _place(file: WeightsFile) -> str:
    """The file's name, which leads to where it is fetched from."""
    return (
        f"[`{file.name}`]({file.url})" if file.url.startswith("https://") and "{" not in file.url else f"`{file.url}`"
    )


def _claims(weights: Weights) -> Iterator[str]:
    if weights.claims:
        rows = [
            (c.metric, f"{c.value:g}", c.data, f"[{c.evaluator}](../evaluators.md#{c.evaluator})", c.source)
            for c in weights.claims
        ]
        yield "Published figures, repeated by `omlab claims`:"
        yield table(("metric", "value", "on", "evaluator", "source"), rows)


def _costs(facts: ModelCard) -> Iterator[str]:
    rows = [row for row in costs() if row["model"] == facts.name]
    if rows:
        yield "## What it costs"
        yield f"Measured with weights drawn at random on {rows[0]['machine']}, {rows[0]['threads']} thread, float32:"
        yield table(
            ("verb", "input", "processor time", "peak memory"),
            [(row["verb"], row["input"], _seconds(row), f"{row['peak_mib']} MiB") for row in rows],
        )


@cache
def costs() -> tuple[Mapping[str, str], ...]:
    """The rows of `docs/costs.csv`, which `python -m tools.costs` measures."""
    if not COSTS.is_file():
        return ()
    with COSTS.open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))

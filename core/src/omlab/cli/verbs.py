"""The commands of verbs: predict, embed, score, generate, register, explain, and `do VERB` for any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from omlab.cli import options

_HELP = {
    "predict": "Run a model on files: scans, slides, clips, sequences, texts.",
    "embed": "Describe inputs by vectors: a store that probes and searches read.",
    "score": "Rate inputs by numbers.",
    "generate": "Let a model write.",
    "register": "Bring images into one space.",
    "explain": "Show what a result rests on.",
    "do": "Apply any verb that a model's card has.",
}
_MORE = """

MODEL is a name (architecture.weights) or the folder of an adapted model. INPUT is a file, a folder of files, or a DICOM
series folder; further inputs are given as NAME=PATH, values as NAME:=VALUE."""


def _command(verb: str) -> click.Command:
    params: list[click.Parameter] = [
        click.Argument(["model"], metavar="MODEL", shell_complete=options.model_names),
        click.Argument(["inputs"], metavar="[INPUT|NAME=PATH|NAME:=VALUE]...", nargs=-1, shell_complete=options.paths),
    ]
    if verb == "do":
        params.insert(0, click.Argument(["verb"], metavar="VERB"))

    @options.output("A file for one input, or a folder")
    @options.data
    @click.option("--split", metavar="NAME", help="Split of the data set (default: test; of own files all).")
    @options.root
    @options.mapped
    @options.settings
    @click.option("--as", "as_format", metavar="FORMAT", help="Format of the results (default: by the suffix or kind).")
    @click.option(
        "--overlay",
        metavar="PATH",
        help="Also draw results over their input: a PNG, a film of a clip (mp4), or a folder.",
    )
    @options.weights
    @options.needs
    @options.batch
    @options.device
    @options.offline
    def run(**given: Any) -> None:
        given.setdefault("verb", verb)
        _run(**given)

    command = click.command(verb, help=_HELP[verb] + _MORE, no_args_is_help=True)(run)
    command.params = params + command.params
    return command


def _run(
    *,
    verb: str,
    model: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    needs: tuple[str, ...],
    mapped: tuple[str, ...],
    offline: bool,
    overlay: str | None,
    weights: Path | None,
    **more: Any,
) -> None:
    from omlab.cli.console import working
    from omlab.cli.results import conclude, show_words
    from omlab.jobs.fitting import fitting
    from omlab.jobs.verbs import apply_verb
    from omlab.models import find_card
    from omlab.session import verb_of
    from omlab.settings import by_home, by_input, plain_names

    paths, named, values = options.inputs_of(inputs)
    pairs = options.pairs(settings)
    model = fitting(model, verb, paths, named={**named, **values}, settings=plain_names(pairs, home="model"))
    card = find_card(model)
    homes = {"model": card.settings, "options": verb_of(card, verb, name=model).options, "data": None, "read": None}
    given = by_home(pairs, homes, plain=("model", "options"), own=("batch", "device", "weights"))
    with working():
        outcome = apply_verb(
            verb,
            model,
            paths,
            named=named,
            values=values,
            mapped=options.pairs(mapped),
            settings=given["model"],
            options=given["options"],
            data_settings=given["data"],
            read_settings=by_input(given["read"]),
            needs=options.pairs(needs),
            offline=offline or None,
            overlay=overlay,
            weights=weights,
            **more,
        )
    show_words(outcome)
    conclude(outcome)


predict = _command("predict")
embed = _command("embed")
score = _command("score")
generate = _command("generate")
register = _command("register")
explain = _command("explain")
do = _command("do")

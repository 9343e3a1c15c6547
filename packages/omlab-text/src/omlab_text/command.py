"""`omlab chat`: talk to a model in a terminal."""

from __future__ import annotations

from pathlib import Path

import click

from omlab.cli import options


@click.command("chat", no_args_is_help=True)
@click.argument("model", metavar="MODEL", shell_complete=options.model_names)
@click.option("--system", metavar="TEXT", default="", help="What the model is told before the first question.")
@click.option("--preset", metavar="NAME", help="One of the model's presets, put before the first question.")
@options.settings
@options.weights
@options.device
@options.offline
def chat(
    *,
    model: str,
    system: str,
    preset: str | None,
    settings: tuple[str, ...],
    weights: Path | None,
    device: str,
    offline: bool,
) -> None:
    """Talk to a model: a line is a question, the answer comes as it is written.

    /clear begins anew, /save FILE.jsonl keeps what was said, /quit (or the end of input) ends. Ctrl-C stops an answer.
    MODEL is a name or the folder of an adapted model; causal-lm takes any model of yours by --weights, endpoint asks a
    server.
    """
    import omlab
    from omlab.cli.console import working
    from omlab.models import find_card
    from omlab.session import verb_of
    from omlab.settings import by_home
    from omlab_text.terminal import Talk

    facts = verb_of(find_card(model), "generate", name=model)
    homes = {"model": find_card(model).settings, "options": facts.options}
    given = by_home(options.pairs(settings), homes, plain=("model", "options"))
    chosen = given["options"] if preset is None else {**given["options"], "preset": preset}
    with working():
        session = omlab.load_model(
            model, weights=weights, device=device, settings=given["model"], offline=offline or None
        )
        talk = Talk(session, system=system, options=session.options("generate", chosen))
        talk.run()

"""The application: our commands, and those of plugins."""

from __future__ import annotations

from typing import Annotated

import typer

from omlab.cli import catalogue, doctor, jobs, new, weights
from omlab.plugins import installed

HELP = """Medical foundation models, one plugin at a time.

Start with 'omlab list', or with 'omlab demo' where the demo is installed."""


def _version(wanted: bool) -> None:
    if wanted:
        from omlab import __version__

        typer.echo(f"omlab-core {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version of omlab-core.")
    ] = False,
) -> None:
    return None


def build() -> typer.Typer:
    """The application with the commands of all plugins that work."""
    app = typer.Typer(
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    app.command("predict", short_help="Run a model on files.")(jobs.predict)
    app.command("adapt", short_help="Adapt a model to a data set.")(jobs.adapt)
    # The settings of an evaluator of recorded answers are options that only its card knows.
    app.command(
        "evaluate",
        short_help="Judge a model or its predictions.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(jobs.evaluate)
    app.command("list", short_help="List what is installed.")(catalogue.list_cards)
    app.command("info", short_help="Show everything about one thing.")(catalogue.info)
    app.command("doctor", short_help="Check this machine and its plugins.")(doctor.doctor)
    app.command("new", short_help="Write a new plugin package.")(new.new)
    app.add_typer(weights.app, name="weights", short_help="Manage published weights.")
    _add_plugin_commands(app)
    return app


def _add_plugin_commands(app: typer.Typer) -> None:
    plugins = installed()
    for name in plugins.names():
        add = getattr(plugins.manager.get_plugin(name), "omlab_commands", None)
        if add is None:
            continue
        before = {id(command) for command in app.registered_commands}
        try:
            add(app)
        except Exception as error:  # one plugin's failure must not take the command line down
            app.registered_commands = [c for c in app.registered_commands if id(c) in before]
            plugins.mark_broken(name, f"omlab_commands failed: {type(error).__name__}: {error}")

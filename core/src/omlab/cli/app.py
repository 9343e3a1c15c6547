"""The application: our commands, and those of plugins."""

from __future__ import annotations

import click

from omlab.cli.group import LazyGroup

HELP = """Medical foundation models, one plugin at a time.

Start with 'omlab list', or with 'omlab demo' where the demo is installed."""

COMMANDS = {
    "predict": ("omlab.cli.verbs:predict", "Run a model on files or data."),
    "embed": ("omlab.cli.verbs:embed", "Describe inputs by vectors."),
    "score": ("omlab.cli.verbs:score", "Rate inputs by numbers."),
    "generate": ("omlab.cli.verbs:generate", "Let a model write."),
    "register": ("omlab.cli.verbs:register", "Bring images into one space."),
    "explain": ("omlab.cli.verbs:explain", "Show what a result rests on."),
    "do": ("omlab.cli.verbs:do", "Any other verb of a model."),
    "adapt": ("omlab.cli.adapt:adapt", "Adapt a model to a data set."),
    "evaluate": ("omlab.cli.evaluate:evaluate", "Judge a model or its results."),
    "list": ("omlab.cli.catalogue:list_cards", "List what is installed."),
    "info": ("omlab.cli.info:info", "Show everything about one thing."),
    "datasets": ("omlab.cli.datasets:datasets", "Prepare and verify data sets."),
    "weights": ("omlab.cli.weights:weights", "Manage published weights."),
    "merge": ("omlab.cli.merge:merge", "End a run whose shards will not all end."),
    "doctor": ("omlab.cli.doctor:doctor", "Check this machine and its plugins."),
    "completion": ("omlab.cli.completion:completion", "Print what completes commands in a shell."),
}


def build() -> LazyGroup:
    """The application with the commands of all plugins that work."""
    app = LazyGroup(
        "omlab",
        help=HELP,
        further=_ask_plugins,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        params=[
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_version,
                help="Show the version of omlab-core.",
            )
        ],
    )
    for name, (entry, help) in COMMANDS.items():
        app.add_lazy(name, entry, help)
    return app


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from omlab import __version__

        click.echo(f"omlab-core {__version__}")
        ctx.exit()


def _ask_plugins(app: LazyGroup) -> None:
    from omlab.plugins import installed

    installed().ask("omlab_commands", cli=app)

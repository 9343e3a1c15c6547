"""`omlab label`: experts rank the answers of models on a page in the browser."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omlab.cli.setting_options import given, read_settings, setting_options
from omlab.errors import MissingDependencyError
from omlab_text.label.accounts import ROLES

if TYPE_CHECKING:
    from omlab_text.label.store import Store

SETTINGS = read_settings("omlab_text.label")
_NEEDED = ("krippendorff", "scipy", "starlette", "uvicorn")
STORE = click.option(
    "--store",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    default="labels.sqlite",
    show_default=True,
    help="Where questions, accounts and labels are kept.",
)


@click.group(no_args_is_help=True)
def label() -> None:
    """Have experts rank the answers of models, blind, on a page in the browser."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(f"Labelling needs the Python package '{missing[0]}': install omlab-text[label].")


@label.command()
@click.argument("files", metavar="[ANSWERS.jsonl]...", type=click.Path(path_type=Path), nargs=-1)
@STORE
@click.option("--host", metavar="NAME", default="127.0.0.1", show_default=True, help="0.0.0.0: other machines too.")
@click.option("--port", metavar="N", type=click.IntRange(1, 65535), default=8080, show_default=True)
@setting_options(SETTINGS)
def serve(files: tuple[Path, ...], path: Path, host: str, port: int, **options: Any) -> None:
    """Show the page until Ctrl-C.

    A line of ANSWERS.jsonl is a question with its answers, or a chat as `omlab generate` writes it; of several files
    the chats with one id are one question. Without files it goes on with what was read before. The first start makes
    the account of an admin.
    """
    from omlab.cli.console import working
    from omlab.settings import complete
    from omlab_text.label.questions import load_deidentify, read_questions
    from omlab_text.label.serving import listening, run
    from omlab_text.label.store import Store

    chosen = given(options, SETTINGS)
    with working():
        settings = complete(SETTINGS, chosen, of="label serve")
        kept = Store(path).settings() if path.is_file() else {}
        deidentify = load_deidentify({**settings, **kept}["deidentify"])
        questions = read_questions(files, deidentify=deidentify) if files else []
        with listening(host=host, port=port) as listener, Store(path, create=bool(files)).served() as store:
            store.begin(settings, given=chosen)
            new = store.add_questions(questions)
            click.echo(f"{path}: {new} new questions, {len(store.questions())} in all.")
            if not store.accounts():
                _show_link(store, "admin", "admin", address=f"http://{host}:{port}")
                click.echo("Further accounts are made by `omlab label account NAME`.")
            click.echo(f"Serving http://{host}:{port} until Ctrl-C.")
            run(store, listener)


@label.command(no_args_is_help=True)
@click.argument("name", metavar="NAME")
@click.option("--role", type=click.Choice(ROLES), default="annotator", show_default=True)
@STORE
@click.option("--address", metavar="URL", default="http://127.0.0.1:8080", show_default=True, help="Of the page.")
def account(name: str, role: str, path: Path, address: str) -> None:
    """Make an account, or a new link for one that is there. The link is shown once: it is the way in."""
    from omlab_text.label.store import Store

    _show_link(Store(path), name, role, address=address)


@label.command()
@click.option(
    "--output", "-o", metavar="FILE", type=click.Path(path_type=Path), default="preferences.jsonl", show_default=True
)
@STORE
def export(output: Path, path: Path) -> None:
    """Write the finished rankings as JSON lines, a line for each annotator of a question; may run beside the server."""
    from omlab_text.label import records
    from omlab_text.label.store import Store

    count = records.export(Store(path), output)
    click.echo(f"{output}: {count} rankings")


@label.command()
@STORE
def agreement(path: Path) -> None:
    """Tell how far everybody is, and how well annotators agree."""
    from omlab_text.label.records import overview
    from omlab_text.label.store import Store

    found = overview(Store(path))
    click.echo(f"{found['labelled']} of {found['questions']} questions are labelled; {found['disputed']} are disputed.")
    for one in found["accounts"]:
        counts = ", ".join(f"{one[state]} {state}" for state in ("done", "skipped", "escalated"))
        click.echo(f"{one['name']}\t{one['role']}\t{counts}")
    agreed = found["agreement"]
    rows = {"Kendall's tau-b of the rankings": agreed["tau"], "Krippendorff's alpha of the ranks": agreed["ranks"]}
    rows |= {f"Krippendorff's alpha of the scores, {axis}": value for axis, value in agreed["scores"].items()}
    click.echo(f"Labelled twice: {agreed['questions']} questions")
    for name, value in rows.items():
        click.echo(f"{name}\t{'-' if value is None else f'{value:.3f}'}")


def _show_link(store: Store, name: str, role: str, *, address: str) -> None:
    # behind '#': a browser sends that to nobody, so it stands in no log
    click.echo(f"{name} ({role}): {address.rstrip('/')}/#{store.add_account(name, role)}")

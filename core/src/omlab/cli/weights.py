"""The commands `omlab weights ...`: what is published, what is here, fetching and removing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from omlab.card_schema import WeightsFile

app = typer.Typer(help="Published weights: list, fetch, verify, find, convert and remove them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A model, or MODEL.TAG for one of its weights.")]
MaybeName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="A model or MODEL.TAG (default: all that is in the cache).")
]


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One published file of one model."""

    model: str
    tag: str
    licence: str
    file: WeightsFile

    @property
    def name(self) -> str:
        return f"{self.model}.{self.tag}"


@app.command("list")
def list_weights(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the weights that the installed models offer, and which of them are on this machine."""
    from omlab.weights import cache_folder

    entries, broken = _all_entries()
    rows = [_row(entry) for entry in entries]
    if as_json:
        typer.echo(json.dumps({"cache": str(cache_folder()), "weights": rows, "broken": broken}, indent=2))
        return
    _show(rows, broken)


@app.command()
def fetch(name: Name) -> None:
    """Fetch weights into the cache, or check those that are there already."""
    from omlab import weights
    from omlab.cli.console import working

    entries = _entries_of(name)
    with working():
        paths = [weights.fetch(entry.file) for entry in entries]
    for path in paths:
        typer.echo(path)


@app.command()
def verify(name: MaybeName = None) -> None:
    """Read weights through and compare them with their sha256; exit status 1 where one is damaged."""
    from omlab import weights
    from omlab.cli.console import working
    from omlab.errors import WeightsError

    entries = _entries_of(name) if name else [e for e in _all_entries()[0] if weights.place(e.file).exists()]
    if not entries:
        typer.echo("No weights are in the cache.")
    bad = 0
    for entry in entries:
        path = weights.place(entry.file)
        try:
            with working():
                weights.verify(path, entry.file)
        except WeightsError as error:
            bad += 1
            typer.echo(f"{entry.name}: {error}", err=True)
        else:
            typer.echo(f"{entry.name}: {path} is whole{'' if entry.file.sha256 else ' (as first fetched)'}.")
    raise typer.Exit(1 if bad else 0)


@app.command()
def path(name: Name) -> None:
    """Print where weights are on this machine."""
    from omlab import weights
    from omlab.errors import WeightsError

    for entry in _entries_of(name):
        found = weights.cached(entry.file)
        if found is None:
            raise WeightsError(
                f"{entry.file.name} of {entry.name} is not on this machine: run 'omlab weights fetch {entry.name}', "
                f"or put it at {weights.place(entry.file)}."
            )
        typer.echo(found)


@app.command()
def convert(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model, or MODEL.TAG for one of its weights.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The new .safetensors file.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="A local copy of the published file.")
    ] = None,
) -> None:
    """Write published weights as safetensors, once: a file that --weights takes, with nothing in it but weights."""
    from omlab.cli.console import working
    from omlab.weights.convert import convert as run
    from omlab.weights.files import megabytes

    with working():
        done = run(name, output, weights=weights)
    typer.echo(f"{done.path}: {done.tensors} tensors, {done.size} bytes ({megabytes(done.size)})")
    typer.echo(f"sha256 {done.sha256}")


@app.command()
def remove(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Remove weights from the cache."""
    from omlab import weights
    from omlab.weights.files import megabytes

    entries = [entry for entry in _entries_of(name) if weights.place(entry.file).parent.exists()]
    if not entries:
        typer.echo(f"Nothing of {name} is in the cache.")
        return
    for entry in entries:
        if yes or typer.confirm(f"Remove {weights.place(entry.file)}?"):
            typer.echo(f"Removed {entry.file.name} of {entry.name} ({megabytes(weights.remove(entry.file))}).")


def _all_entries() -> tuple[list[_Entry], list[str]]:
    """The files of all model cards, and one sentence for each card that is wrong."""
    from omlab.errors import CardError
    from omlab.registry import registry

    entries: list[_Entry] = []
    broken: list[str] = []
    for offer in registry().cards("model"):
        try:
            entries += _entries_in(offer)
        except CardError as error:
            broken.append(str(error))
    return entries, broken


def _entries_of(name: str) -> list[_Entry]:
    """The files of `MODEL` (all its tags) or `MODEL.TAG`. Raises `UnknownNameError`."""
    from omlab.card_schema import ModelCard, validate
    from omlab.errors import UsageError
    from omlab.registry import registry
    from omlab.weights import offered

    model, _, tag = name.partition(".")
    offer = registry().get("model", model)
    card = validate(offer)
    assert isinstance(card, ModelCard)
    if tag:
        offered(card, tag)
    entries = [entry for entry in _entries_in(offer) if tag in ("", entry.tag)]
    if not entries:
        raise UsageError(f"Model '{model}' offers no weights.")
    return entries


def _entries_in(offer: Any) -> list[_Entry]:
    from omlab.card_schema import ModelCard, validate

    card = validate(offer)
    assert isinstance(card, ModelCard)
    return [
        _Entry(model=card.name, tag=tag, licence=weights.licence, file=file)
        for tag, weights in card.weights.items()
        for file in weights.files
    ]


def _row(entry: _Entry) -> dict[str, Any]:
    from omlab import weights

    found = weights.cached(entry.file)
    return {
        "model": entry.model,
        "tag": entry.tag,
        "file": entry.file.name,
        "size": found.stat().st_size if found else entry.file.size,
        "approximate_size": entry.file.approximate_size,
        "licence": entry.licence,
        "url": entry.file.url,
        "sha256": entry.file.sha256,
        "cached": found is not None,
        "path": str(found) if found else None,
    }


def _show(rows: list[dict[str, Any]], broken: list[str]) -> None:
    from rich.table import Table

    from omlab.cli.console import stderr_console, stdout_console
    from omlab.weights import cache_folder

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("weights", "here", "size", "file", "licence"):
        table.add_column(heading, justify="right" if heading == "size" else "left", no_wrap=heading != "file")
    console = stdout_console()
    room = max(12, console.width - 68)
    for row in rows:
        name, here = f"{row['model']}.{row['tag']}", "yes" if row["cached"] else "no"
        # a licence can be a paragraph: --json gives all of it
        licence = row["licence"] if len(row["licence"]) <= room else f"{row['licence'][: room - 1].rstrip()}…"
        table.add_row(name, here, _size(row), row["file"], licence)
    console.print(table if rows else "No installed model offers weights.")
    console.print(f"Cache: {cache_folder() / 'weights'}", style="dim", soft_wrap=True)
    for sentence in broken:
        stderr_console().print(sentence, style="red", markup=False)


def _size(row: dict[str, Any]) -> str:
    from omlab.weights.files import megabytes

    return megabytes(row["size"]) if row["size"] else f"~{megabytes(row['approximate_size'])}"

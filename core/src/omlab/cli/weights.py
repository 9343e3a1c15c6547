"""The commands `omlab weights ...`: what is published, what is here, fetching, moving and removing it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from omlab.weights.entries import Entry

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_name = click.argument("name", metavar="NAME")
_file = click.Path(path_type=Path)


@click.group(no_args_is_help=True)
def weights() -> None:
    """Published weights: list, fetch, check, move and remove them.

    NAME is a model, or MODEL.TAG for one of its weights.
    """


@weights.command("list")
@_json
def list_weights(*, as_json: bool) -> None:
    """List what the installed models offer, and what is here."""
    from omlab.weights import cache_folder, entries

    found, broken = entries.every()
    rows = [_row(entry) for entry in found]
    if as_json:
        _print({"cache": str(cache_folder()), "weights": rows, "broken": broken})
    else:
        _show(rows, broken)


@weights.command()
@_name
@_json
def fetch(name: str, *, as_json: bool) -> None:
    """Fetch weights into the cache, or check those there."""
    from omlab.cli.console import working
    from omlab.weights import entries

    found = entries.on_this_machine(name)
    with working():
        paths = [entry.fetch() for entry in found]
    _show_paths(found, paths, as_json=as_json)


@weights.command()
@click.argument("name", metavar="[NAME]", required=False)
@_json
def verify(name: str | None, *, as_json: bool) -> None:
    """Read weights through and compare their sha256.

    Without NAME, all that is in the cache. Exit status 1 where one is damaged.
    """
    from omlab.cli.console import working
    from omlab.errors import WeightsError
    from omlab.weights import entries

    offered = entries.on_this_machine(name) if name else entries.every()[0]
    found = [entry for entry in offered if entry.endpoint is None and (name or entry.place().exists())]
    rows: list[dict[str, Any]] = []
    for entry in found:
        problem = None
        try:
            with working():
                entry.verify()
        except WeightsError as error:
            problem = str(error)
        rows.append({"weights": entry.name, "path": str(entry.place()), "whole": problem is None, "problem": problem})
        if not as_json:
            known = "" if entry.file is not None and entry.file.sha256 else " (as first fetched)"
            whole = f"{entry.name}: {entry.place()} is whole{known}."
            click.echo(f"{entry.name}: {problem}" if problem else whole, err=problem is not None)
    if as_json:
        _print(rows)
    elif not rows:
        click.echo("No weights are in the cache.")
    _end(failed=any(not row["whole"] for row in rows))


@weights.command()
@_name
@_json
def path(name: str, *, as_json: bool) -> None:
    """Print where weights are on this machine."""
    from omlab.errors import WeightsError
    from omlab.weights import entries

    found, paths = entries.on_this_machine(name), []
    for entry in found:
        here = entry.cached()
        if here is None:
            raise WeightsError(
                f"{entry.what} of {entry.name} is not on this machine: run 'omlab weights fetch {entry.name}', "
                f"or put it at {entry.place()}."
            )
        paths.append(here)
    _show_paths(found, paths, as_json=as_json)


@weights.command()
@_name
@click.option("--output", "-o", type=_file, required=True, metavar="FILE", help="The new .safetensors file.")
@click.option("--weights", "given", type=_file, metavar="FILE", help="A local copy of the published file.")
@_json
def convert(name: str, output: Path, given: Path | None, *, as_json: bool) -> None:
    """Write published weights as safetensors, once.

    A file that --weights takes, with nothing in it but weights.
    """
    from omlab.cli.console import working
    from omlab.weights.convert import convert as run
    from omlab.weights.files import megabytes

    with working():
        done = run(name, output, weights=given)
    if as_json:
        _print({"path": str(done.path), "tensors": done.tensors, "size": done.size, "sha256": done.sha256})
        return
    click.echo(f"{done.path}: {done.tensors} tensors, {done.size} bytes ({megabytes(done.size)})")
    click.echo(f"sha256 {done.sha256}")


@weights.command()
@_name
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def remove(name: str, *, yes: bool) -> None:
    """Remove weights from the cache."""
    from omlab.weights import entries
    from omlab.weights.files import megabytes

    found = [entry for entry in entries.on_this_machine(name) if _is_in_the_way(entry)]
    if not found:
        click.echo(f"Nothing of {name} is in the cache.")
    for entry in found:
        if yes or click.confirm(f"Remove {entry.place()}?"):
            click.echo(f"Removed {entry.what} of {entry.name} ({megabytes(entry.remove())}).")


@weights.command("export")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--output", "-o", type=_file, required=True, metavar="FILE", help="The new bundle (.tar).")
@_json
def export_weights(names: tuple[str, ...], output: Path, *, as_json: bool) -> None:
    """Write weights to a bundle for another machine.

    With what the models need of others; what is not here is fetched. Bring the bundle to a machine without a
    network, and run 'omlab weights import' there.
    """
    from omlab.cli.console import working
    from omlab.weights import bundle, entries
    from omlab.weights.files import megabytes

    with working():
        manifest = bundle.write(entries.with_needs(names), output)
    if as_json:
        _print({"path": str(output), "size": output.stat().st_size, "weights": manifest.model_dump()["weights"]})
        return
    for row in manifest.weights:
        click.echo(f"{row.model}.{row.tag}: {_listed([member.name for member in row.files])}. Licence: {row.licence}")
    click.echo(f"{output}: {megabytes(output.stat().st_size)}")


@weights.command("import")
@click.argument("file", type=_file, metavar="FILE")
@_json
def import_weights(file: Path, *, as_json: bool) -> None:
    """Put the weights of a bundle into the cache."""
    from omlab.cli.console import working
    from omlab.weights import bundle, entries

    with working():
        placed = bundle.read(file)
    asked = {entry.place() for entry in entries.every()[0] if entry.endpoint is None}
    if as_json:
        _print(
            [
                {**one.row.model_dump(), "path": str(one.path), "was_there": one.was_there, "used": one.path in asked}
                for one in placed
            ]
        )
        return
    for one in placed:
        name, there = f"{one.row.model}.{one.row.tag}", " was there already" if one.was_there else ""
        click.echo(f"{name}: {one.path}{there}. Licence: {one.row.licence}")
        if one.path not in asked:
            click.echo(f"Warning: no installed model asks for {name} as it is in the bundle.", err=True)


@weights.command("check-links")
@click.argument("name", metavar="[NAME]", required=False)
@_json
def check_links(name: str | None, *, as_json: bool) -> None:
    """Ask whether published weights are still there.

    Without NAME, all that the installed models publish. Exit status 1 where one is gone or has another size.
    """
    from omlab.cli.console import working
    from omlab.errors import UsageError
    from omlab.weights import entries, is_offline, links

    if is_offline():
        raise UsageError("Links are checked over the network, which OMLAB_OFFLINE forbids.")
    offered = entries.on_this_machine(name) if name else entries.every()[0]
    with working():
        found = links.check([entry for entry in offered if entry.endpoint is None])
    if as_json:
        _print([vars(link) for link in found])
    for link in [] if as_json else found:
        click.echo(f"{link.state:10}  {link.name}  {link.what}  {link.url}")
        if link.detail:
            click.echo(f"{'':10}  {link.detail}")
    _end(failed=any(link.state in ("gone", "other size") for link in found))


def _print(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def _end(*, failed: bool) -> None:
    if failed:
        raise click.exceptions.Exit(1)


def _show_paths(found: Sequence[Entry], paths: Sequence[Path], *, as_json: bool) -> None:
    if as_json:
        rows = zip(found, paths, strict=True)
        _print([{"weights": entry.name, "file": entry.what, "path": str(path)} for entry, path in rows])
        return
    for path in paths:
        click.echo(path)


def _is_in_the_way(entry: Entry) -> bool:
    """Whether there is anything to remove: whole, half fetched, or a local file, which `remove` refuses."""
    return entry.place().parent.exists()


def _row(entry: Entry) -> dict[str, Any]:
    here = entry.cached()
    return {
        "model": entry.model,
        "tag": entry.tag,
        "kind": entry.kind,
        "file": entry.what,
        "size": entry.size(),
        "approximate_size": entry.file.approximate_size if entry.file is not None else None,
        "licence": entry.licence,
        "url": entry.url,
        "sha256": entry.file.sha256 if entry.file is not None else None,
        "cached": here is not None,
        "path": str(here) if here else None,
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
        table.add_row(name, "remote" if row["kind"] == "endpoint" else here, _size(row), row["file"], licence)
    console.print(table if rows else "No installed model offers weights.")
    console.print(f"Cache: {cache_folder() / 'weights'}", style="dim", soft_wrap=True)
    for sentence in broken:
        stderr_console().print(sentence, style="red", markup=False)


def _size(row: dict[str, Any]) -> str:
    from omlab.weights.files import megabytes

    if row["size"]:
        return megabytes(row["size"])
    return f"~{megabytes(row['approximate_size'])}" if row["approximate_size"] else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

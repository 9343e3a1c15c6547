"""The command doctor: whether this machine and environment are fit, and what to mend."""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from omlab.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from omlab.sizes import Weighed

State = Literal["ok", "note", "problem"]
Row = tuple[str, State, str]


@click.command()
@options.as_json
def doctor(as_json: bool) -> None:
    """Check versions, GPU, Triton, plugins, weights cache and disk; exit status 1 when something is broken.

    Also says what each installed package of omlab weighs, and what it brings that the core does not need.
    """
    from omlab.sizes import weigh

    rows, weighed = [*_versions(), *_gpu(), *_plugins(), *_duplicates(), *_storage()], weigh()
    if as_json:
        checks = [{"check": c, "state": s, "detail": d} for c, s, d in rows]
        click.echo(json.dumps({"checks": checks, "packages": [asdict(one) for one in weighed]}, indent=2))
    else:
        _show(rows)
        _show_sizes(weighed)
    if any(state == "problem" for _, state, _ in rows):
        raise click.exceptions.Exit(1)


def _versions() -> list[Row]:
    ours = sorted((d.name, d.version) for d in distributions() if d.name and d.name.lower().startswith("omlab"))
    return [
        ("python", "ok", f"{platform.python_version()} at {sys.executable}"),
        *((name, "ok", version) for name, version in dict(ours).items()),
    ]


def _gpu() -> list[Row]:
    if find_spec("torch") is None:
        return [("torch", "note", "not installed: models that need it cannot run")]
    import torch

    rows: list[Row] = [("torch", "ok", torch.__version__)]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            rows.append((f"cuda:{index}", "ok", f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free"))
    else:
        rows.append(("gpu", "note", "none found: everything runs on the CPU, only slower"))
    found = find_spec("triton") is not None
    rows.append(("triton", "ok" if found else "note", "installed" if found else "not installed: plain PyTorch is used"))
    return rows


def _plugins() -> list[Row]:
    from omlab.plugins import installed
    from omlab.registry import HOOKS, registry

    for kind in HOOKS:
        registry().cards(kind)
    states: dict[str, State] = {"ok": "ok", "off": "note", "broken": "problem", "incompatible": "problem"}
    return [
        (
            f"plugin {p.name}",
            states[p.status],
            (p.reason and f"{p.status}: {p.reason}") or f"{p.distribution} {p.version}",
        )
        for p in installed()
    ]


def _duplicates() -> list[Row]:
    from omlab.registry import HOOKS, registry

    return [
        (f"{kind} {name}", "problem", f"offered by {' and '.join(owners)}; uninstall one of them")
        for kind in HOOKS
        for name, owners in registry().duplicates(kind).items()
    ]


def _storage() -> list[Row]:
    from omlab.weights import cache_folder

    rows: list[Row] = []
    for what, folder in (("weights cache", cache_folder()), ("working folder", Path.cwd())):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free
        rows.append((what, "ok" if free > 5e9 else "note", f"{folder}, {free / 1e9:.0f} GB free"))
    return rows


def _show(rows: list[Row]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from omlab.cli.console import stdout_console

    colours: dict[Any, str] = {"ok": "green", "note": "yellow", "problem": "red"}
    table = Table(box=None, show_header=False, pad_edge=False)
    for style in ("", "bold", ""):
        table.add_column(style=style, overflow="fold")
    for check, state, detail in rows:
        table.add_row(escape(check), f"[{colours[state]}]{state}[/]", escape(detail))
    stdout_console().print(table)


def _show_sizes(weighed: Iterable[Weighed]) -> None:
    from omlab.cli.console import stdout_console

    console = stdout_console()
    console.print()
    console.print(_sizes(weighed))


def _sizes(weighed: Iterable[Weighed]) -> Table:
    """What each package weighs; of what it brings the number, the sum and the largest."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("package", "own size", "brings", "of", "the largest"):
        table.add_column(title, justify="right" if title in ("own size", "brings", "of") else "left", overflow="fold")
    for one in weighed:
        largest = [f"{name} {_said(size)}" for name, size in one.brought.items()][:3]
        total = _said(sum(size or 0 for size in one.brought.values())) if one.brought else ""
        table.add_row(escape(one.name), _said(one.size), str(len(one.brought)), total, escape(", ".join(largest)))
    return table


def _said(size: int | None) -> str:
    """A size as people read it."""
    if size is None:
        return "unknown"
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 1e3:.0f} kB"

"""Every command that a page shows is one that omlab has, with options, names and settings that exist."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from omlab.card_schema import AdapterCard, DatasetCard, ModelCard, validate
from omlab.cli.app import build
from omlab.errors import OmlabError
from omlab.jobs.adapt import EPISODE
from omlab.registry import registry
from omlab.settings import by_home, parse_pairs
from omlab.sizes import installed_distributions
from tools import pages
from tools.workspace import ROOT, packages

INSTALLED = installed_distributions()
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(package.folder / "README.md" for package in packages() if not package.apart or package.name in INSTALLED),
)
OTHERS = {"my-data", "my-net", "bright", "edge"}
"""What a reader of the pages makes."""


def parsed(words: list[str]) -> click.Context:
    """The command of a line, its arguments read as they would be. Raises `click.UsageError`."""
    command: click.Command = build()
    context = click.Context(command, info_name="omlab")
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    return command.make_context(context.info_name, words, parent=context.parent)


def wrong(words: list[str], *, made: Collection[str] = ()) -> Iterator[str]:
    """What of a command line does not exist; `made` are folders that other commands of its page write."""
    if "--help" in words or "..." in words:
        return
    try:
        given = parsed(list(words)).params
        model = None if given.get("model") in made else _card("model", given.get("model"))
        for need in given.get("models", ()):
            _card("model", need)
        homes: dict[str, Any] = {"model": model.settings if isinstance(model, ModelCard) else None, "read": None}
        data = _card("dataset", (given.get("data") or "").partition(":")[0])
        homes["data"] = data.settings if isinstance(data, DatasetCard) else None
        if words[0] == "adapt":
            adapter = _card("adapter", given["adapter"])
            recipes = list(model.trains) if isinstance(model, ModelCard) else []
            if recipes and given["recipe"] not in (None, *recipes):
                yield f"there is no recipe {given['recipe']}"
            recipe = model.trains[given["recipe"] or recipes[0]] if isinstance(model, ModelCard) else None
            homes["adapter"] = adapter.settings if isinstance(adapter, AdapterCard) else None
            homes["recipe"] = recipe.settings if recipe is not None else None
        if all(homes.get(name) is not None for name in ("adapter", "recipe")):
            homes["episode"] = EPISODE
            by_home(parse_pairs(given.get("settings", ())), homes, plain=("adapter", "recipe", "episode"))
    except (click.UsageError, OmlabError) as error:
        yield str(getattr(error, "message", error))


def _card(kind: Any, name: str | None) -> Any:
    """The validated card; None where the name is a placeholder, a folder, or what a reader makes."""
    if not name or name.isupper() or "/" in name or name in OTHERS:
        return None
    base, _, tag = name.partition(".")
    card = validate(registry().get(kind, base))
    if isinstance(card, ModelCard) and tag not in ("", "untrained", *card.weights):
        raise click.UsageError(f"there are no weights {name}")
    return card


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_exist(page: Path) -> None:
    lines = pages.commands(page)
    made = {words[words.index("-o") + 1] for words in lines if "-o" in words}
    assert [f"omlab {' '.join(words)}: {fault}" for words in lines for fault in wrong(words, made=made)] == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("omlab predcit stunet-tiny a.nii", "no command 'predcit'"),
        ("omlab predict stunet-tiny a.nii --no-such", "--no-such"),
        ("omlab predict stunet-tinny a.nii", "did you mean 'stunet-tiny'"),
        ("omlab predict stunet-base.nothing a.nii", "no weights"),
        ("torchrun --nproc-per-node 2 -m omlab adapt stunet-tiny --data cases:l.csv -s epoch=1", "epoch"),
        ("OMLAB_SHARD=0/2 uv run omlab adapt stunet-tiny --data case:l.csv", "'case'"),
    ],
)
def test_what_does_not_exist_is_found(line: str, fault: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Text.\n\n    {line}   # a remark\n")
    (words,) = pages.commands(page)
    assert fault in "".join(wrong(words))

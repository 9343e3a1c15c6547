"""Cards as plugins give them: read from TOML, listed at once, validated in full when they are used.

This module stays light (no pydantic): `omlab list` reads a hundred cards without importing the code
of one. `omlab.card_schema` says what a complete card is.

A table `[settings.NAME]` at the top of a file is shared by its cards: where a card has settings (a model, a
recipe, the options of a verb) it may name them, `settings = ["mirror", "step"]`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, get_args

from omlab.errors import CardError

Kind = Literal["payload", "format", "dataset", "model", "adapter", "evaluator"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHARED = "settings"


@dataclass(frozen=True, kw_only=True)
class Card:
    """One card, not yet validated. `source` is where it stands, `distribution` who brought it."""

    kind: Kind
    name: str
    summary: str
    data: Mapping[str, Any] = field(repr=False)
    source: str = ""
    distribution: str = ""

    @property
    def weights(self) -> tuple[str, ...]:
        """Tags of the weights on offer, the default first."""
        tags = list(self.data.get("weights", {}))
        default = self.data.get("default_weights")
        return tuple(sorted(tags, key=lambda tag: tag != default))


def read_cards(package: str | None, kind: Kind, *, file: str = "cards.toml") -> list[Card]:
    """The cards of `kind` in a package's `cards.toml`.

    Raises `CardError` where the file is not there, is not TOML, a card has no name or summary, or names a shared
    setting that is not in the file.
    """
    if package is None:
        raise CardError("read_cards needs the name of the package: pass __package__.")
    source = f"{package}/{file}"
    try:
        document = _parsed(resources.files(package).joinpath(file).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CardError(f"{source} is not there: is it part of the wheel?") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CardError(f"{source} is not valid TOML: {error}.") from error
    return cards_in(document, kind, source=source)


@lru_cache(maxsize=128)
def _parsed(text: str) -> Mapping[str, Any]:
    """A file has cards of several kinds, each read by a hook of its own: it is parsed once. Nobody changes it."""
    return tomllib.loads(text)


def cards_in(document: Mapping[str, Any], kind: Kind, *, source: str) -> list[Card]:
    """The cards of `kind` in a TOML document that was read already; raises as `read_cards` does."""
    unknown = sorted(set(document) - {*KINDS, SHARED})
    if unknown:
        raise CardError(f"{source} has a table '{unknown[0]}'; a card is one of {', '.join(KINDS)}.")
    tables = document.get(kind, [])
    if not isinstance(tables, list):
        raise CardError(f"{source}: write [[{kind}]] (a list of cards), not [{kind}].")
    for number, table in enumerate(tables, start=1):
        for key in ("name", "summary"):
            if not isinstance(table.get(key), str) or not table[key].strip():
                raise CardError(f"{source}: [[{kind}]] number {number} has no '{key}'.")
    return [_card(kind, table, source=source, shared=document.get(SHARED, {})) for table in tables]


def _card(kind: Kind, table: Mapping[str, Any], *, source: str, shared: Mapping[str, Any]) -> Card:
    data = _with_shared(table, shared=shared, where=f"{source}: {kind} '{table['name']}'")
    return Card(kind=kind, name=table["name"], summary=table["summary"], data=data, source=source)


def _with_shared(table: Mapping[str, Any], *, shared: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`table` with every list of names under `settings` or `options` replaced by the shared tables."""
    filled: dict[str, Any] = {}
    for key, value in table.items():
        if key in ("settings", "options") and isinstance(value, list):
            lacking = [name for name in value if name not in shared]
            if lacking:
                raise CardError(
                    f"{where} names the setting '{lacking[0]}', but the file has no [settings.{lacking[0]}]."
                )
            filled[key] = {name: shared[name] for name in value}
        elif isinstance(value, Mapping):
            filled[key] = _with_shared(value, shared=shared, where=where)
        else:
            filled[key] = value
    return filled

"""What a model's identity, as logs of runs keep it (`omlab.Session.identity`), says of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

UNTRAINED = "untrained"
"""The tag of weights that are drawn at random."""


def part(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a request, which any plugin may write as it likes: a mapping, or a name alone; empty where absent."""
    found = of.get(name) or {}
    return found if isinstance(found, Mapping) else {"name": str(found)}


def untrained_in(model: Mapping[str, Any]) -> Iterator[str]:
    """The names of models with random weights: itself, unless it was adapted, and what it needs."""
    needs = part(model, "needs")
    if not model.get("base") and part(model, "weights").get("tag") == UNTRAINED:
        yield str(model.get("name", ""))
    for name in needs:
        yield from untrained_in(part(needs, name))

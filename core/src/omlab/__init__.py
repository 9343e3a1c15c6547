"""omlab: medical foundation models, one plugin at a time.

Importing this is cheap; what a name needs is imported when the name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omlab.api import (
        FileCase,
        adapt,
        apply_verb,
        cases_for,
        embed,
        episodes,
        evaluate,
        features,
        load_dataset,
        load_model,
        merge,
        predict,
        read,
        run_cases,
        write,
    )
    from omlab.cards import Card, read_cards
    from omlab.errors import OmlabError
    from omlab.hookspecs import HOOK_API, hookimpl
    from omlab.payloads import Inputs, Payload, take
    from omlab.roles import About, Adapted, Delta, Metric, Report, Sample
    from omlab.session import Session

__version__ = "0.1.0"

_HOMES = {
    "omlab.api": (
        "FileCase",
        "adapt",
        "apply_verb",
        "cases_for",
        "embed",
        "episodes",
        "evaluate",
        "features",
        "load_dataset",
        "load_model",
        "merge",
        "predict",
        "read",
        "run_cases",
        "write",
    ),
    "omlab.cards": ("Card", "read_cards"),
    "omlab.errors": ("OmlabError",),
    "omlab.hookspecs": ("HOOK_API", "hookimpl"),
    "omlab.payloads": ("Inputs", "Payload", "take"),
    "omlab.roles": ("About", "Adapted", "Delta", "Metric", "Report", "Sample"),
    "omlab.session": ("Session",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "HOOK_API",
    "About",
    "Adapted",
    "Card",
    "Delta",
    "FileCase",
    "Inputs",
    "Metric",
    "OmlabError",
    "Payload",
    "Report",
    "Sample",
    "Session",
    "adapt",
    "apply_verb",
    "cases_for",
    "embed",
    "episodes",
    "evaluate",
    "features",
    "hookimpl",
    "load_dataset",
    "load_model",
    "merge",
    "predict",
    "read",
    "read_cards",
    "run_cases",
    "take",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'omlab' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

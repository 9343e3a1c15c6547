"""omlab: medical foundation models, one plugin at a time.

Importing this is cheap; what a name needs is imported when the name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omlab.api import adapt, evaluate, evaluate_recorded, load_dataset, load_model, predict, read, simulate, write
    from omlab.cards import Card, read_cards
    from omlab.errors import OmlabError
    from omlab.hookspecs import HOOK_API, hookimpl
    from omlab.roles import Adapted, Metric, Report, Sample

__version__ = "0.1.0"

__all__ = [
    "HOOK_API",
    "Adapted",
    "Card",
    "Metric",
    "OmlabError",
    "Report",
    "Sample",
    "adapt",
    "evaluate",
    "evaluate_recorded",
    "hookimpl",
    "load_dataset",
    "load_model",
    "predict",
    "read",
    "read_cards",
    "simulate",
    "write",
]

_HOMES = {
    "omlab.api": (
        "adapt",
        "evaluate",
        "evaluate_recorded",
        "load_dataset",
        "load_model",
        "predict",
        "read",
        "simulate",
        "write",
    ),
    "omlab.cards": ("Card", "read_cards"),
    "omlab.errors": ("OmlabError",),
    "omlab.hookspecs": ("HOOK_API", "hookimpl"),
    "omlab.roles": ("Adapted", "Metric", "Report", "Sample"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'omlab' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

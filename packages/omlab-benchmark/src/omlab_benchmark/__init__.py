"""Few-shot benchmarks: models, adapters, shots and seeds on one data set, and what of a leaderboard is certain."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omlab_benchmark.board import benchmark
    from omlab_benchmark.claims import Checked, check_claims

__version__ = "0.1.0"
__all__ = ["Checked", "benchmark", "check_claims"]

_HOMES = {"benchmark": "board", "Checked": "claims", "check_claims": "claims"}


def __getattr__(name: str) -> Any:
    """Import on first use: the plugin is asked for its commands at every start of omlab."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

"""Search in embeddings: the cases that are most alike, and those that do not belong.

    from omlab_retrieval import outliers, search

    found = search(known, asked, k=10)     # matrices (N, D) and (Q, D): rows and cosine similarities, (Q, 10)
    scored = outliers(known, new)          # distances to the known ones, with thresholds by leaving one out

Importing this is cheap; what a name needs is imported when the name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omlab_retrieval.jobs import find_like, find_outliers
    from omlab_retrieval.neighbours import Neighbours, search
    from omlab_retrieval.outlying import Outlying, Scored, outliers

__version__ = "0.1.0"

__all__ = ["Neighbours", "Outlying", "Scored", "find_like", "find_outliers", "outliers", "search"]

_HOMES = {"Neighbours": "neighbours", "find_like": "jobs", "find_outliers": "jobs", "search": "neighbours"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'omlab_retrieval' has no attribute {name!r}")
    return getattr(import_module(f"omlab_retrieval.{_HOMES.get(name, 'outlying')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

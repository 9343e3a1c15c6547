"""Names of classes, which are spelt a little differently from one data set or model to the next."""

from __future__ import annotations


def name_key(name: str) -> str:
    """A class's name as names are compared: case, spaces, hyphens and underscores do not count."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())

"""Names of classes and scores in references and results, which may be spelt a little differently."""

from __future__ import annotations

from collections.abc import Iterable


def key_of(name: str) -> str:
    """What two spellings of one name share: case, spaces, hyphens and underscores do not count."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def matched(wanted: Iterable[str], there: Iterable[str]) -> dict[str, str]:
    """For each wanted name the one that is there: the same, else the one of the same key; others are left out."""
    known = list(there)
    by_key: dict[str, list[str]] = {}
    for name in known:
        by_key.setdefault(key_of(name), []).append(name)
    found = {}
    for name in wanted:
        alike = [name] if name in known else by_key.get(key_of(name), [])
        if len(alike) == 1:
            found[name] = alike[0]
    return found

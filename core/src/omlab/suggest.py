"""'Did you mean': what a message says of a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

_SHOWN = 8


def did_you_mean(name: str, known: Iterable[str], *, none: str, cutoff: float = 0.55) -> str:
    """The end of a sentence: names like the one given, else those that there are, else `none`."""
    from difflib import get_close_matches  # only a mistake pays for it

    names = sorted(set(known))
    close = get_close_matches(name, names, n=3, cutoff=cutoff)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    if not names:
        return none
    return f"there are {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else '.'}"

"""The classes of what is found in frames."""

from __future__ import annotations

from collections.abc import Mapping


def class_names(about: Mapping[int, str], *, otherwise: Mapping[int, str]) -> dict[int, str]:
    """The classes that data tell of, without the background; where they tell of none, those of before."""
    return {value: name for value, name in sorted(about.items()) if value} or dict(otherwise)

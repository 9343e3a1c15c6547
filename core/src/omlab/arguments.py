"""What the functions of the Python interface are given: checked where it comes in, told in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omlab.errors import UsageError
from omlab.payloads import Payload, an, describe


def path_of(value: Any, what: str) -> Path:
    """`value` as a path. Raises `UsageError` for None, a payload or anything else."""
    if isinstance(value, str | Path):
        return Path(value)
    hint = " (a payload is given to a loaded model: omlab.load_model(...).predict(payload))"
    raise UsageError(f"{what} must be a path, not {_said(value)}{hint if isinstance(value, Payload) else ''}.")


def paths_of(value: Any, what: str) -> list[Path]:
    """One path or several as a list. Raises `UsageError`."""
    if isinstance(value, str | Path):
        return [Path(value)]
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        return [path_of(value, what)]
    return [path_of(one, what) for one in value]


def name_of(value: Any, what: str) -> str:
    """A name, or the folder of an adapted model, as text. Raises `UsageError`."""
    if not isinstance(value, str | Path) or not str(value).strip():
        raise UsageError(f"{what} must be a name or a folder, not {_said(value)}.")
    return str(value)


def table_of(value: Any, what: str) -> dict[str, Any]:
    """A mapping by names, None as an empty one. Raises `UsageError`."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise UsageError(f"{what} must be values by their names, not {_said(value)}.")
    return dict(value)


def _said(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, str | int | float):
        return repr(value)
    return an(describe(value))

"""What a case that is prepared once is known by later: its files, or where these do not tell, what it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omlab.roles import Case
from omlab.stamps import stamp
from omlab_volume.volume import LabelMap, Volume


def source_of(case: Case) -> list[Any] | None:
    """What a case is known by without being read; None where that is not certain."""
    files = {name: [stamp(path, digest=False).to_json() for path in paths] for name, paths in case.files.items()}
    try:
        described = _plain(case)
    except TypeError:
        return None
    return [described, files] if files and is_dataclass(case) else None


def _plain(value: Any) -> Any:
    """A dataclass of plain values as JSON. Raises `TypeError` for anything whose JSON would not be all of it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return [f"{type(value).__module__}.{type(value).__qualname__}", parts]
    raise TypeError(f"a {type(value).__name__} is no plain value")


def content_of(*payloads: Volume | LabelMap) -> list[Any]:
    """What payloads are known by: their values and where they lie."""
    parts: list[Any] = []
    for payload in payloads:
        array = np.ascontiguousarray(payload.array)
        parts.append([str(array.dtype), array.shape, hashlib.sha256(array.data).hexdigest(), payload.affine.tolist()])
    return parts

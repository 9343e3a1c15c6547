"""The classes of this package by their kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omlab.errors import UsageError
from omlab_payloads.boxes import Boxes
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_payloads.points import Points
from omlab_payloads.scores import Scores

_CLASSES: dict[str, Any] = {found.kind: found for found in (Embedding, Classes, Scores, Boxes, Points)}


LONE = "backslashreplace"
"""What becomes of half a character (of a file name that is no UTF-8) in a file: an escape, as JSON has it."""


def class_of(kind: str) -> Any:
    """The class of a kind. Raises `UsageError` for a kind of another package."""
    if kind not in _CLASSES:
        raise UsageError(f"The formats of omlab-payloads hold {', '.join(_CLASSES)}, not a {kind}.")
    return _CLASSES[kind]


def stem(path: Path) -> str:
    """The id of the only case of a file: its name without the suffix."""
    return path.name.removesuffix(path.suffix)

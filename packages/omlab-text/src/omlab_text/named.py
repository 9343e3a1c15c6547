"""Models that a user names: those of omlab, adapted ones, and files of his own."""

from __future__ import annotations

from pathlib import Path

from omlab.adapted import ADAPTED

ANY = "causal-lm"
"""The card that takes whatever causal language model a user has."""


def named_model(name: str) -> tuple[str, Path | None]:
    """The model to be loaded for a name, and its weights.

    A folder of transformers and a GGUF file are weights of `causal-lm`; any other name, or an adapted model's folder,
    is taken as it is.
    """
    path = Path(name)
    if path.exists() and not (path / ADAPTED).is_file():
        return ANY, path
    return name, None

"""Figures of a training for TensorBoard, where it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from omlab.errors import MissingDependencyError
from omlab.files import writing

FOLDER = "OMLAB_TENSORBOARD"
"""The environment variable that names a folder for the scalars of every training."""

Write = Callable[[int, Mapping[str, float]], None]


@contextmanager
def scalars(folder: Path | None, *, name: str, done: int) -> Iterator[Write | None]:
    """A function that writes figures at a step into `folder`/`name`; None where nobody asked.

    Args:
        folder: Left out: what `OMLAB_TENSORBOARD` says.
        name: The same for a training that is resumed.
        done: Steps done before; what an interrupted training wrote beyond them is hidden.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
        OutputError: The folder cannot be written.
    """
    folder = folder or (Path(given) if (given := os.environ.get(FOLDER)) else None)
    if folder is None:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            f"Scalars are to be written to {folder}, but TensorBoard is not installed: install "
            f"omlab-train[tensorboard], or unset {FOLDER}."
        ) from error
    with writing("The scalars for TensorBoard", folder):
        writer = SummaryWriter(str(folder / name), purge_step=done)

    def write(step: int, figures: Mapping[str, float]) -> None:
        for key, value in figures.items():
            writer.add_scalar(key, value, step)

    try:
        yield write
    finally:
        writer.close()

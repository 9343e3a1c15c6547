"""Checkpoints of a training: one safetensors file, replaced atomically, with the rest of the state as JSON in it.

One file and one rename, so that weights, optimizer and history can never be of different epochs, and nothing is
ever unpickled.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from omlab.errors import OmlabNote, OmlabWarning
from omlab.weights import save_state_dict

NAME = "checkpoint.safetensors"

_STATE = "state.json"


class CheckpointWarning(OmlabWarning):
    """A checkpoint is there and was not used: it is damaged, or of another training."""


@dataclass(kw_only=True)
class Checkpoint:
    """A training after `epochs_done` epochs.

    Attributes:
        settings: A digest of all that decides its course.
        epochs_done: A row of `history` each.
        module: The state dict, without the parameters that are not trained.
        optimizer: `state` of the optimizer's state dict.
        average: The moving average of the weights, where there is one.
        best: The weights of the best epoch, where they are kept.
        history: As `fit` gives it.
        scaler: State of the gradient scaler (float16 only).
    """

    settings: str
    epochs_done: int
    module: Mapping[str, Tensor]
    optimizer: Mapping[int, Mapping[str, Any]]
    average: Mapping[str, Tensor] = field(default_factory=dict)
    best: Mapping[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    scaler: Mapping[str, Any] = field(default_factory=dict)


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Replace the checkpoint of `folder`; the old one stays until the new one is safely on the disk.

    Raises:
        OutputError: It cannot be written.
    """
    tensors = {f"module/{name}": tensor for name, tensor in checkpoint.module.items()}
    tensors |= {f"average/{name}": tensor for name, tensor in checkpoint.average.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in checkpoint.best.items()}
    numbers: dict[str, dict[str, Any]] = {}
    for index, entries in checkpoint.optimizer.items():
        numbers[str(index)] = {}
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{name}"] = value
            else:
                numbers[str(index)][name] = value
    state = {
        "settings": checkpoint.settings,
        "epochs_done": checkpoint.epochs_done,
        "history": checkpoint.history,
        "scaler": dict(checkpoint.scaler),
        "optimizer": numbers,
    }
    tensors[_STATE] = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    save_state_dict(tensors, folder / NAME)


def read_checkpoint(folder: Path, *, settings: str) -> Checkpoint | None:
    """The checkpoint of `folder` with that digest of settings, on the CPU; None where there is none.

    One that cannot be read or is of other settings is not used, and `CheckpointWarning` says so.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        checkpoint = _parse(load_file(path))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        detail = f"{type(error).__name__}: {error}"
        warnings.warn(
            f"The checkpoint {path} cannot be read ({detail}); training starts anew.", CheckpointWarning, stacklevel=3
        )
        return None
    if checkpoint.settings != settings:
        warnings.warn(
            f"The checkpoint {path} is of a training with other settings, data or initial weights; it is not used "
            "and training starts anew.",
            CheckpointWarning,
            stacklevel=3,
        )
        return None
    return checkpoint


def say_going_on(done: int, *, of: int, unit: str = "epoch") -> None:
    """Note that a training which was interrupted goes on; nothing of one that begins, or has nothing left to do."""
    if 0 < done < of:
        said = f"An earlier start ended after {unit} {done} of {of}: the training goes on from there."
        warnings.warn(said, OmlabNote, stacklevel=3)


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while it wrote a checkpoint has left in `folder`."""
    for left in folder.glob(".omlab-*"):  # the temporary folders of `omlab.files.replacing`
        if left.is_dir() and {path.name for path in left.iterdir()} <= {NAME}:
            shutil.rmtree(left, ignore_errors=True)


def _parse(tensors: dict[str, Tensor]) -> Checkpoint:
    state = json.loads(bytes(tensors.pop(_STATE).tolist()))
    named: dict[str, dict[str, Tensor]] = {"module": {}, "average": {}, "best": {}}
    optimizer: dict[int, dict[str, Any]] = {int(index): dict(row) for index, row in state["optimizer"].items()}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        if part in named:
            named[part][name] = tensor
        else:
            index, _, entry = name.partition("/")
            optimizer[int(index)][entry] = tensor
    return Checkpoint(
        settings=state["settings"],
        epochs_done=state["epochs_done"],
        **named,
        optimizer=optimizer,
        history=state["history"],
        scaler=state["scaler"],
    )

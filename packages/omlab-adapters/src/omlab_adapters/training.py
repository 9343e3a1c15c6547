"""What every adapter that trains does: the recipe, the loop, the curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from omlab.errors import MissingDependencyError
from omlab.roles import Base, Dataset, Trainable
from omlab.shards import rank
from omlab_train import Loop, fit

CURVES = "history.png"


def trainable_of(base: Base, settings: Mapping[str, Any]) -> Trainable:
    """The model that is trained by a recipe with these settings.

    Where several processes part its weights (`sharding`) it is built on the CPU: no device has room for the whole.
    """
    return base.trainable(device=None if settings.get("sharding", "none") == "none" else "cpu")


def retargeted(
    base: Base, data: Dataset, *, recipe: str, settings: Mapping[str, Any], seed: int
) -> tuple[Trainable, dict[str, Tensor]]:
    """A copy of the base for the targets of the data, and the tensors of the base itself, on the CPU.

    The base's network need not stay on the device beside that which learns: nothing here holds it.
    """
    trainable = trainable_of(base, settings)
    before = {name: tensor.cpu().clone() for name, tensor in trainable.module.state_dict().items()}
    return trainable.retarget(recipe, data.about("train"), settings=settings, seed=seed), before


def train(
    target: Trainable,
    data: Dataset,
    *,
    base: Base,
    recipe: str,
    settings: Mapping[str, Any],
    seed: int,
    folder: Path,
    workers: int,
) -> list[dict[str, float]]:
    """Train `target` in place by its recipe; goes on from what an interrupted run left in `folder`.

    `workers` below 0: as many as the cores suggest.
    """
    made = target.recipe(recipe, data, settings=settings, seed=seed)
    if isinstance(made, Loop):
        return made.run(device=base.device, folder=folder, seed=seed)
    return fit(made, folder=folder, device=base.device, seed=seed, workers=None if workers < 0 else workers)


def draw_curves(history: Sequence[Mapping[str, float]], folder: Path) -> list[Path]:
    """A picture of the losses, by the first of several processes; none where matplotlib is not installed."""
    from omlab_train.curves import curves_png

    if not history or rank() > 0:
        return []
    try:
        picture = curves_png(history)
    except MissingDependencyError:
        return []
    path = folder / CURVES
    path.write_bytes(picture)
    return [path]

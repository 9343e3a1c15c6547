"""The weights of the best epoch, and when a training is over before its last step."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from omlab.errors import TrainingError
from omlab_train.recipe import Optimisation

History = Sequence[Mapping[str, float]]


def best_epoch(history: History, how: Optimisation) -> int | None:
    """The index of the row that is kept, of those within the limits; None: none.

    With `how.best` that in which this figure of validation is lowest, the first of several; with limits alone the last.
    """
    within = [index for index, row in enumerate(history) if beyond(row, how) is None]
    if how.best is None:
        return within[-1] if within and how.limits else None
    figures = {index: history[index].get(f"val_{how.best}", math.nan) for index in within}
    known = [index for index, figure in figures.items() if not math.isnan(figure)]
    return min(known, key=figures.__getitem__, default=None)


def beyond(row: Mapping[str, float], how: Optimisation) -> str | None:
    """The first figure of a row that is beyond its limit; None: none is."""
    return next((name for name, limit in how.limits.items() if row.get(f"val_{name}", -math.inf) > limit), None)


def is_over(history: History, how: Optimisation) -> bool:
    """Whether the last epoch ended beyond a limit, or no epoch has been better than the best for `how.patience`."""
    if history and beyond(history[-1], how) is not None:
        return True
    best = best_epoch(history, how) if how.best and how.patience else None
    return best is not None and len(history) > how.patience_after and len(history) - 1 - best >= how.patience


def said_at_the_limit(history: History, how: Optimisation) -> str | None:
    """A sentence on a training that ended beyond a limit; None where it did not.

    Raises:
        TrainingError: No epoch before was within the limits.
    """
    name = beyond(history[-1], how) if history else None
    if name is None:
        return None
    found, limit = history[-1][f"val_{name}"], how.limits[name]
    said = (
        f"Training ended after epoch {len(history)}: {name} of validation is {found:g}, beyond the limit of {limit:g}"
    )
    best = best_epoch(history, how)
    if best is None:
        raise TrainingError(f"{said}, and no epoch was within it: lower the learning rate, or validate earlier.")
    return f"{said}. The weights are those of epoch {best + 1}."


class Best:
    """The weights of the best epoch so far, on the CPU.

    Args:
        module: Whose weights.
        frozen: Entries of its state dict that no training changes.
    """

    def __init__(self, module: nn.Module, *, frozen: Collection[str]) -> None:
        self._module, self._frozen = module, frozenset(frozen)
        self.state: dict[str, Tensor] = {}

    def take(self) -> None:
        """Keep the weights as they are now."""
        state = self._module.state_dict().items()
        self.state = {name: value.detach().to("cpu", copy=True) for name, value in state if name not in self._frozen}

    def put_in(self) -> None:
        """Give the module what was kept, for good."""
        self._module.load_state_dict(self.state, strict=False)

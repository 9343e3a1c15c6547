"""The weights of the best epoch, and when a training has not become better for long enough."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from omlab_train.recipe import Optimisation

History = Sequence[Mapping[str, float]]


def best_epoch(history: History, how: Optimisation) -> int | None:
    """The index of the row in which the figure `how.best` of validation is lowest, the first of several; None: none."""
    figures = [row.get(f"val_{how.best}", math.nan) for row in history]
    known = [index for index, figure in enumerate(figures) if not math.isnan(figure)]
    return min(known, key=lambda index: figures[index], default=None)


def is_over(history: History, how: Optimisation) -> bool:
    """Whether `how.patience` epochs have passed since the best one, and at least `how.patience_after` in all."""
    best = best_epoch(history, how) if how.best and how.patience else None
    return best is not None and len(history) > how.patience_after and len(history) - 1 - best >= how.patience


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

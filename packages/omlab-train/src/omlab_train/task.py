"""What can be trained: `TrainingTask`, the contract between a model and the training loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class TrainingTask(Protocol):
    """Everything that the loop needs to know of a model and its data.

    A batch is a function of `seed` and `step` alone, so that a resumed run continues exactly.
    """

    module: nn.Module
    steps_per_epoch: int
    epochs: int
    max_grad_norm: float | None

    def batch(self, step: int) -> Any:
        """The batch of one global step, on the CPU: a (nested) dict or list of tensors."""
        ...

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        """The scalar loss of a batch on the module's device, and figures to show beside it."""
        ...

    def optimizer(self) -> torch.optim.Optimizer:
        """A new optimizer over the module's parameters."""
        ...

    def learning_rate(self, step: int) -> float:
        """The learning rate at a global step."""
        ...


@runtime_checkable
class Fingerprinted(Protocol):
    """A task that says what its batches depend on, so that a checkpoint of other data is not resumed."""

    @property
    def fingerprint(self) -> str:
        """Digest of the settings and data behind `batch` and `loss`."""
        ...

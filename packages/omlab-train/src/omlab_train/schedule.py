"""Learning rates as functions of the step or epoch."""

from __future__ import annotations


def poly_learning_rate(epoch: float, *, epochs: int, initial: float, power: float = 0.9) -> float:
    """The learning rate at `epoch` (from 0) of `epochs`: initial (1 - epoch / epochs)^power, as in nnU-Net."""
    if not 0 <= epoch <= epochs:
        raise ValueError(f"epoch {epoch} is not one of 0..{epochs}")
    return float(initial * (1 - epoch / epochs) ** power)

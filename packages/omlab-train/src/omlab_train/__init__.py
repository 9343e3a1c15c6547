"""The training loop of omlab: fine-tuning, resuming, many devices, through accelerate."""

from omlab_train.loop import fit
from omlab_train.recipe import Group, Loop, Optimisation, Recipe

__version__ = "0.1.0"
__all__ = ["Group", "Loop", "Optimisation", "Recipe", "fit"]

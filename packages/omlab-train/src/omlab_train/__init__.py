"""The training loop of omlab: fine-tuning, resuming, many devices, through accelerate."""

from omlab_train.loop import fit
from omlab_train.task import Fingerprinted, TrainingTask

__version__ = "0.1.0"
__all__ = ["Fingerprinted", "TrainingTask", "fit"]

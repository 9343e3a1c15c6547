"""The training loop of omlab: fine-tuning, resuming, many devices, through accelerate."""

__version__ = "0.1.0"

"""The Python interface: everything that the commands do, as functions."""

from __future__ import annotations

from omlab.datasets import load_dataset
from omlab.formats import read, write
from omlab.jobs.adapt import adapt
from omlab.jobs.evaluate import evaluate
from omlab.jobs.evaluate_recorded import evaluate_recorded
from omlab.jobs.predict import predict
from omlab.jobs.simulate import simulate
from omlab.models import load_model

__all__ = [
    "adapt",
    "evaluate",
    "evaluate_recorded",
    "load_dataset",
    "load_model",
    "predict",
    "read",
    "simulate",
    "write",
]

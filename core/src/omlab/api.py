"""The Python interface: everything that the commands do, as functions."""

from __future__ import annotations

from functools import partial

from omlab.datasets import load_dataset
from omlab.few_shot import episodes
from omlab.formats import read, write
from omlab.jobs.adapt import adapt
from omlab.jobs.evaluate import evaluate
from omlab.jobs.features import features
from omlab.jobs.merge import merge
from omlab.jobs.outcome import Outcome
from omlab.jobs.run_cases import FileCase, run_cases
from omlab.jobs.sources import cases_for
from omlab.jobs.verbs import apply_verb
from omlab.models import load_model

predict = partial(apply_verb, "predict")
embed = partial(apply_verb, "embed")

__all__ = [
    "FileCase",
    "Outcome",
    "adapt",
    "apply_verb",
    "cases_for",
    "embed",
    "episodes",
    "evaluate",
    "features",
    "load_dataset",
    "load_model",
    "merge",
    "predict",
    "read",
    "run_cases",
    "write",
]

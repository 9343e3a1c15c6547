"""Draws of libraries that know no generator but the process's own, made a function of a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
import torch

_turn = Lock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, Python's, NumPy's and PyTorch's (CPU) random numbers come from `seed`; after it they go on as before.

    torchvision and timm draw from these generators, which all threads share. Threads that use this wait for each other,
    but one that draws without it, such as dropout in a training step, would take part of the numbers: batches that are
    made so have `draws_globally` (`omlab_train.Recipe`), and are not made beside a step.
    """
    with _turn:
        python, numpy, torch_state = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
        random.seed(seed)
        np.random.seed(seed % 2**32)  # it is the one that the libraries use
        torch.default_generator.manual_seed(seed % 2**64)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            torch.default_generator.set_state(torch_state)

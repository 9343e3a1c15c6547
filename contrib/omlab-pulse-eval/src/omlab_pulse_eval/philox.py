"""Uniform numbers that a name determines: the same on every machine and in every version of numpy."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def keyed_uniform(salt: str, name: str, count: int) -> NDArray[np.float64]:
    """`count` values in [0, 1) with 53 random bits each, from the raw stream of Philox keyed by sha256(salt/name)."""
    key = np.frombuffer(hashlib.sha256(f"{salt}/{name}".encode()).digest()[:16], dtype="<u8").astype(np.uint64)
    bits = np.random.Philox(key=key).random_raw(count)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

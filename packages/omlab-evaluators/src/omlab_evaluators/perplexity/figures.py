"""Bits per byte and perplexity of summed log-probabilities."""

from __future__ import annotations

import math

import numpy as np

from omlab_evaluators.bootstrap import CaseRows, Floats
from omlab_evaluators.measures import Measure

MEASURES = (
    Measure("bits_per_byte", "Bits per byte", unit="bit", higher_is_better=False, help="comparable between tokenizers"),
    Measure("perplexity", "Perplexity", higher_is_better=False, help="per token, over the tokens of all documents"),
)


def sums_of(rows: CaseRows) -> Floats:
    """Log-probability, tokens and bytes of each document, (documents, 3)."""
    return np.array([[case[0][key] for key in ("logprob", "tokens", "bytes")] for case in rows.values()], dtype=float)


def figures(sums: Floats) -> Floats:
    """Log-probability (nats), tokens and bytes, (..., 3) -> the measures, (..., 2); NaN where they pass all numbers."""
    lost, tokens, size = -sums[..., 0], sums[..., 1], sums[..., 2]
    with np.errstate(over="ignore"):
        found = np.stack([lost / size / math.log(2), np.exp(lost / tokens)], axis=-1)
    return np.where(np.isfinite(found), found, np.nan)

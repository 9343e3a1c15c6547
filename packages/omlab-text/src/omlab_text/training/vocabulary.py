"""Cross-entropy and log-probabilities over a large vocabulary: `omlab_kernels`' by shorter names."""

from omlab_kernels import linear_cross_entropy as cross_entropy
from omlab_kernels import linear_log_probs as log_probs
from omlab_kernels import linear_log_probs_and_entropy as log_probs_and_entropy

IGNORED = -100
"""The target of a token that does not count, as in torch."""

__all__ = ["IGNORED", "cross_entropy", "log_probs", "log_probs_and_entropy"]

"""Few-shot benchmarks: models, adapters, shots and seeds on one data set, and what of a leaderboard is certain."""

from omlab_benchmark.board import benchmark
from omlab_benchmark.claims import Checked, check_claims

__version__ = "0.1.0"
__all__ = ["Checked", "benchmark", "check_claims"]

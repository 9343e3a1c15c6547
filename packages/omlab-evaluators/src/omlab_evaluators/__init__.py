"""Metrics with confidence intervals and their report pages: the evaluators of omlab.

`overlap`, `surface` and `bootstrap` hold the mathematics, on plain arrays; `segmentation` is the evaluator.
"""

__version__ = "0.1.0"

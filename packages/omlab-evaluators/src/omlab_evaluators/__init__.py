"""Metrics with confidence intervals and their report pages."""

__version__ = "0.1.0"

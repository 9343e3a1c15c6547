"""Chinese medical language models by dimension, task and set, after MedBench. No torch."""

__version__ = "0.1.0"

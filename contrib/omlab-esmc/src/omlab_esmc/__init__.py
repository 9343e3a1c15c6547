"""ESM-C and ESM3-open: protein language models."""

__version__ = "0.1.0"

"""ESM-2 and ESM-1v: protein language models."""

__version__ = "0.1.0"

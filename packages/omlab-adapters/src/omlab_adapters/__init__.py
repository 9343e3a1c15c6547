"""Adapters that any omlab model can use."""

__version__ = "0.1.0"

"""Segments bright structures in a volume."""

__version__ = "0.1.0"

"""Clips of video (kind `clip`), and what is found in them over time."""

__version__ = "0.1.0"

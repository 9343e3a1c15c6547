"""Segment Anything's 2-D network (Kirillov et al. 2023), for the models that are built on it."""

__version__ = "0.1.0"

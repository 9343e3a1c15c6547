"""Measurements of segmentations: volume, shape, diameters and intensities of every structure."""

__version__ = "0.1.0"

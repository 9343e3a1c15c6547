"""Prompts: points, boxes, masks and text; 3D Slicer markups; simulated clicks."""

__version__ = "0.1.0"

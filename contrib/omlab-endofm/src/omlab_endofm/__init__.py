"""Endo-FM: a video transformer for endoscopy, with its classifier, segmentation and detection."""

__version__ = "0.1.0"

"""USFM: a universal ultrasound foundation model (Jiao et al. 2024)."""

__version__ = "0.1.0"

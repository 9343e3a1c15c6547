"""Deblurring masked image modelling for ultrasound (Kang et al. 2023, 2024)."""

__version__ = "0.1.0"

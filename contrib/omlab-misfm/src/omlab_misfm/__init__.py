"""MIS-FM: PCT-Net and FMUNet, pre-trained by Volume Fusion (Wang et al. 2023, 2025)."""

__version__ = "0.1.0"

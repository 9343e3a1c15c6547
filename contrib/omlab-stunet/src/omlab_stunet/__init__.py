"""STU-Net: scalable whole-body CT segmentation (Huang et al. 2023)."""

__version__ = "0.1.0"

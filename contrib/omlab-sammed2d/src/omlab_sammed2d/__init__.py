"""SAM-Med2D: segmentation of pictures and of volumes slice by slice, from points and boxes (Cheng et al. 2023)."""

__version__ = "0.1.0"

"""MONAI's segmentation networks to train on own data, and MONAI bundles as models of omlab."""

__version__ = "0.1.0"

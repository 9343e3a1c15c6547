"""PathoDuet (Hua et al. 2024): encoders of pathology patches in H&E and IHC, and how they are pre-trained."""

__version__ = "0.1.0"

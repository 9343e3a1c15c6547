"""CITE: images of pathology told apart by the texts of their classes, and the data set PatchGastricADC22."""

__version__ = "0.1.0"

"""MedLAM localises anatomy in CT from a few annotated scans; MedLSAM segments what it finds."""

__version__ = "0.1.0"

"""RETFound: foundation models for retinal photographs and OCT (Zhou et al. 2023), and RETFound-Green."""

__version__ = "0.1.0"

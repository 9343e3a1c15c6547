"""BROW: features of stained tissue by self-distillation (Wu et al. 2023), and slides that are told by them."""

__version__ = "0.1.0"

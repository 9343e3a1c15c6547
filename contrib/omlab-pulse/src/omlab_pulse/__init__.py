"""PULSE: Chinese medical chat models of the BLOOM and Llama families."""

__version__ = "0.1.0"

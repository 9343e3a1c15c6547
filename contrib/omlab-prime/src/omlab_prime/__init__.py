"""PRIME: a protein language model trained with the temperature that its host grows at."""

__version__ = "0.1.0"

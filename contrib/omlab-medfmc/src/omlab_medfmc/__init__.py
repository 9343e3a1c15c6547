"""MedFMC: few-shot classification of five kinds of medical images, with visual prompts."""

__version__ = "0.1.0"

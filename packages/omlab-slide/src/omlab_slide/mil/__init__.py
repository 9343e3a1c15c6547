"""Slide models: multiple instance learning on bags of patch features."""

"""Boxes of structures against reference label maps."""

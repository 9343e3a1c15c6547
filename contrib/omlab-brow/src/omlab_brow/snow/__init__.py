"""SNOW: drawn tiles of breast tissue with the outlines of their nuclei."""

"""Volumes that do not fit in memory: read by region, results computed block by block while they are written."""

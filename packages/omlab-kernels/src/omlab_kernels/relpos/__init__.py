"""Attention with a relative position of thin factors, and a sink for padded keys."""

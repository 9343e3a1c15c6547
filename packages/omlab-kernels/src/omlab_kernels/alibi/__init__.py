"""Causal attention with linear biases (ALiBi)."""

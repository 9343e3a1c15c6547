"""Gated attention pooling over packed bags."""

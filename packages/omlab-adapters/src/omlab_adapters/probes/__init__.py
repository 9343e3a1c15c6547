"""Adapters that learn from a model's embeddings alone: linear probe, nearest neighbours, nearest centroid."""

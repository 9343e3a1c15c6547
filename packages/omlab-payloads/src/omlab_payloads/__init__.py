"""Kinds that every modality shares: embedding, classes, scores, boxes, points; CSV, JSON, Parquet, safetensors."""

__version__ = "0.1.0"

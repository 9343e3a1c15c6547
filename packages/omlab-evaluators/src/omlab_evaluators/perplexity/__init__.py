"""Evaluator `perplexity`."""

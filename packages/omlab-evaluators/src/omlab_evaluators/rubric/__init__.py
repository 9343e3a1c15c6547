"""Evaluator `rubric`."""

"""Evaluator `multiple-choice`."""

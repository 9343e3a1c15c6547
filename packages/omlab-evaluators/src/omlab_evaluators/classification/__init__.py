"""Probabilities of classes against references: the evaluator `classification`."""

"""Evaluator `detection`: boxes in pictures and in the frames of clips."""

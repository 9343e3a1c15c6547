"""Label maps against references: overlap, surfaces, and the evaluator `segmentation`."""

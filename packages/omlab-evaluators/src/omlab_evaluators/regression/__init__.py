"""Named numbers against references: the evaluator `regression`."""

"""Risks and survival probabilities against follow-up that may end before the event: the evaluator `survival`."""

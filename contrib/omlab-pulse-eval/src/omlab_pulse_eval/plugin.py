"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 1


@hookimpl
def omlab_evaluators() -> list[Card]:
    """The evaluator `pulse-eval`."""
    return read_cards(__package__, "evaluator")

"""Which cases belong together: of one patient they are either learned from or judged by, never both."""

from __future__ import annotations

from omlab.roles import Case


def group_of(case: Case) -> str:
    """Whose a case is. One without a group is a group of its own; the mark keeps its id from being taken for one."""
    return f"case {case.id}" if case.group is None else f"group {case.group}"

"""Cases of a group (patches of a slide, images of a patient) as one case: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from omlab.errors import InputError
from omlab_evaluators.bootstrap import CaseRows, Row


def by_group(rows: CaseRows) -> dict[str, list[dict[str, Any]]]:
    """A row for each group, under its name; a case without a group stays what it is.

    The most probable class of the mean is predicted ("soft voting"). What a prediction set says of cases says nothing
    of their mean: it is left out.

    Raises:
        InputError: Several classes may be right, or cases of a group have different references or classes.
    """
    members: dict[str, list[Row]] = {}
    for case, mine in rows.items():
        members.setdefault(str(mine[0].get("group") or case), []).append(mine[0])
    return {group: [_mean(group, found)] for group, found in members.items()}


def _mean(group: str, rows: list[Row]) -> dict[str, Any]:
    first = rows[0]
    if any(row["several"] for row in rows):
        raise InputError("by_group=yes is for references of one right class: here several may be.")
    if any(
        row["right"] != first["right"] or row["probabilities"].keys() != first["probabilities"].keys() for row in rows
    ):
        raise InputError(
            f"The cases of '{group}' are of different classes: they cannot be judged as one (by_group=no)."
        )
    probabilities: Mapping[str, float] = {
        name: float(np.mean([row["probabilities"][name] for row in rows])) for name in first["probabilities"]
    }
    kept = {name: value for name, value in first.items() if name not in ("set", "set_coverage")}
    predicted = max(probabilities, key=lambda name: probabilities[name])
    return {**kept, "predicted": [predicted], "probabilities": probabilities}

"""Simulated clicks: a model points by itself where it is wrong, to see how good it gets with how many clicks.

A model has the verb `simulate`: it takes an image and a reference for it, has the options `clicks` (for each object)
and `seed`, and gives a `Simulation`.

    [model.does.simulate]
    takes = { volume = "volume", reference = "labelmap" }
    gives = "simulation"
    grid = "volume"
    options = ["clicks", "seed"]

An input `found` (a label map that may be left out) is what another model found: the first click of an object is then
the deepest point of the structure of that name in it (`omlab_prompts.deriving.deepest_points`), right or wrong, as of a
chain; where it has none, the first click is one at the reference. The column `first` of the rows says which it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omlab.errors import UsageError
from omlab.payloads import Payload
from omlab_prompts.prompts import Prompts

COLUMNS = ("object", "round", "dice")


@dataclass(frozen=True, kw_only=True)
class ClickScores:
    """How good the masks were after each click: the payload `click-scores`.

    Each row has `object`, `round` (from 1) and `dice` (0 to 1, None: not defined), and what else a model says of a
    round, each a text, a number or None. Raises `UsageError` for other rows.
    """

    kind: ClassVar[str] = "click-scores"

    rows: Sequence[Mapping[str, Any]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(_checked(dict(row)) for row in self.rows))

    @property
    def columns(self) -> tuple[str, ...]:
        """What the rows have, `COLUMNS` first."""
        return tuple(dict.fromkeys([*COLUMNS, *(name for row in self.rows for name in row)]))

    def is_finite(self) -> bool:
        """Whether no Dice is NaN."""
        return all(row["dice"] is None or math.isfinite(row["dice"]) for row in self.rows)


@dataclass(frozen=True, eq=False, kw_only=True)
class Simulation:
    """What comes of simulated clicks: the payload `simulation`.

    `prediction` is the last one; `prompts` are the clicks, which give it again; `scores` how good it was after each.
    """

    kind: ClassVar[str] = "simulation"

    prediction: Payload
    prompts: Prompts
    scores: ClickScores

    def parts(self) -> Mapping[str, Payload]:
        """The parts by name: written as `<id>.prediction.nii.gz`, `<id>.prompts.json`, `<id>.clicks.csv`."""
        return {"prediction": self.prediction, "prompts": self.prompts, "clicks": self.scores}


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    dice = row.get("dice")
    is_score = dice is None or (isinstance(dice, int | float) and not dice < 0 and not dice > 1)
    if (
        not {*COLUMNS} <= set(row)
        or not isinstance(row["object"], str)
        or type(row["round"]) is not int
        or not is_score
    ):
        raise UsageError(
            f"A row of simulated clicks has an object, a round and a Dice from 0 to 1 (or None), not {row}."
        )
    return row

"""Boards of `omlab benchmark` on MedFMC: what every entry (a model with an adapter) said of each case."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from omlab.errors import InputError
from omlab.records import CaseLog
from omlab.run_folder import read_log
from omlab_medfmc.dataset import PREFIX
from omlab_medfmc.results import Scores, in_order, lists_in
from omlab_medfmc.sets import MedfmcSet, set_of


@dataclass(frozen=True, kw_only=True)
class BoardCell:
    """What an entry said after one episode (`omlab_medfmc.results.Said`).

    Attributes:
        folder: Of the board.
        one: The set.
        split: What was answered.
        entry: `MODEL/ADAPTER`.
        shots: Of each class.
        seed: Of the episode.
        file: Where the cases are.
        place: The data set as the board's user named it.
        lists: A further folder with lists.
    """

    folder: Path
    one: MedfmcSet
    split: str
    entry: str
    shots: int
    seed: int
    file: Path
    place: str | None
    lists: str

    def scores(self, ids: Sequence[str]) -> Scores:
        """Scores (N, K) of cases. Raises `InputError` where a case has none, or of other classes."""
        return in_order({id: row["probabilities"] for id, row in self.cases.items()}, ids, self.one, of=self.folder)

    def labels(self) -> tuple[list[str], Any]:
        """Ids of the cases and their labels (N, K)."""
        right = [[int(name in row["right"]) for name in self.one.classes] for row in self.cases.values()]
        return list(self.cases), np.array(right)

    @cached_property
    def cases(self) -> dict[str, dict[str, Any]]:
        """What was measured, by case. Raises `InputError` where the file is damaged."""
        try:
            with gzip.open(self.file, "rt", encoding="utf-8") as stream:
                lines = [json.loads(line) for line in stream]
            return {line["id"]: line["rows"][0] for line in lines}
        except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{self.file} is damaged ({error}): remove it and start the benchmark again.") from None


def is_board(folder: Path) -> bool:
    """Whether a folder is a board."""
    return ((read_log(folder) or {}).get("request") or {}).get("command") == "benchmark"


def cells_of(folder: Path) -> list[BoardCell]:
    """The cells of a board, those that failed left out.

    Raises:
        InputError: It is no finished board, or of other data.
    """
    log = read_log(folder) if is_board(folder) else None
    if log is None or log.get("finished") is None:
        raise InputError(f"{folder} is not the folder of a finished 'omlab benchmark'.")
    data = log["request"]["data"][1]
    if not str(data["name"]).startswith(PREFIX):
        raise InputError(f"{folder} was not made with --data {PREFIX}NAME: its cases are not MedFMC's.")
    rows = [row for record in CaseLog(folder) for row in record.values.get("rows", []) if not row["reason"]]
    return [
        BoardCell(
            folder=folder,
            one=set_of(data["name"].removeprefix(PREFIX)),
            split=str(data["split"]),
            entry=f"{row['model']}/{row['adapter']}",
            shots=row["shots"],
            seed=row["seed"],
            file=folder / row["file"],
            place=log.get("arguments", {}).get("data"),
            lists=lists_in(data),
        )
        for row in rows
    ]

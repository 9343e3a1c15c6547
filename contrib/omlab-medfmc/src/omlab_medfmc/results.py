"""What models said of MedFMC's images: the folders of `omlab predict --data medfmc-...`, case by case."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from omlab import read
from omlab.adapted import ADAPTED
from omlab.datasets import open_dataset
from omlab.errors import InputError, OmlabError, UsageError
from omlab.formats import format_cards, implementation
from omlab.records import CaseLog
from omlab.run_folder import read_log
from omlab_medfmc.dataset import PREFIX, Medfmc
from omlab_medfmc.sets import MedfmcSet, set_of
from omlab_payloads.classes import Classes

Scores = NDArray[np.float64]


class Said(Protocol):
    """Scores of the cases of a set: those of a run, or of a cell of a board."""

    @property
    def folder(self) -> Path:
        """Where they are kept."""
        ...

    @property
    def one(self) -> MedfmcSet:
        """The set."""
        ...

    @property
    def place(self) -> str | None:
        """The data set as it was named for them, such as `medfmc-chest:MedFMC/`."""
        ...

    @property
    def lists(self) -> str:
        """A further folder with lists, as was set for them."""
        ...

    def scores(self, ids: Sequence[str]) -> Scores:
        """Scores (N, K) of cases, in the order of the set's classes. Raises `InputError`."""
        ...


@dataclass(frozen=True)
class Results:
    """A finished run of `omlab predict` on a set (`Said`).

    Attributes:
        folder: Of the run.
    """

    folder: Path

    @cached_property
    def log(self) -> dict[str, Any]:
        """Its `run.json`. Raises `InputError` where it is no such run."""
        log = read_log(self.folder)
        if log is None or log.get("finished") is None or log["request"].get("command") != "predict":
            raise InputError(f"{self.folder} is not the folder of a finished run of 'omlab predict'.")
        return log

    @property
    def is_of_medfmc(self) -> bool:
        """Whether it is a finished run on one of the sets."""
        try:
            return self._data.startswith(PREFIX)
        except InputError:
            return False

    @property
    def one(self) -> MedfmcSet:
        """The set that it is of. Raises `InputError` where it is of other data."""
        if not self._data.startswith(PREFIX):
            raise InputError(f"{self.folder} was not made with --data {PREFIX}NAME: its cases are not MedFMC's.")
        return set_of(self._data.removeprefix(PREFIX))

    @property
    def shots(self) -> int | None:
        """Of how many shots its model knows, as the adapted model's folder says; None where that is not at hand."""
        model = Path(str(self.log.get("arguments", {}).get("model", ""))) / ADAPTED
        try:
            data = json.loads(model.read_text(encoding="utf-8"))["data"]
            shots = int(data["settings"]["shots"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return shots or None

    @property
    def place(self) -> str | None:
        """The data set as the run's user named it."""
        named = self.log.get("arguments", {}).get("inputs") or [None]
        return None if named[0] is None else str(named[0])

    @property
    def lists(self) -> str:
        """A further folder with lists."""
        return lists_in(self.log["request"]["data"])

    def has(self, id: str) -> bool:
        """Whether a case is among its."""
        return id in self._cases

    def scores(self, ids: Sequence[str]) -> Scores:
        """Scores (N, K) of cases. Raises `InputError` where a case has none, or of other classes."""
        found = {id: self._said(id) for id in ids if (record := self._cases.get(id)) and record.status == "done"}
        return in_order(found, ids, self.one, of=self.folder)

    @property
    def _data(self) -> str:
        return str(self.log["request"].get("data", {}).get("name", ""))

    @cached_property
    def _cases(self) -> CaseLog:
        return CaseLog(self.folder)

    def _said(self, id: str) -> dict[str, float]:
        found = self._result(id)
        return dict(zip(found.names, found.probabilities, strict=True)) if isinstance(found, Classes) else {}

    def _result(self, id: str) -> Any:
        collected = self.log.get("collected")
        if collected:
            card = next(card for card in format_cards() if card.name == collected["format"])
            return implementation(card).read(self.folder / collected["path"], kind=Classes.kind, key=id)
        record = self._cases.get(id)
        assert record is not None
        return read(self.folder / record.main()[0], kind=Classes.kind)


def in_order(said: Mapping[str, Mapping[str, float]], ids: Sequence[str], one: MedfmcSet, *, of: Path) -> Scores:
    """Scores (N, K) of cases in this order, by the set's classes.

    Raises:
        InputError: A case has no result, or one of other classes.
    """
    missing = [id for id in ids if id not in said]
    if missing:
        raise InputError(
            f"{of} has no result for {len(missing)} of the {len(ids)} images of {one.folders[1]}, such as "
            f"{missing[0]}: let 'omlab predict' do them all."
        )
    for id in ids:
        if said[id].keys() != set(one.classes):
            raise InputError(
                f"{of}: the classes of '{id}' are {', '.join(said[id]) or 'none'}, not those of {one.folders[1]}: "
                f"{', '.join(one.classes[:3])}{', ...' if len(one.classes) > len(one.classes[:3]) else ''}."
            )
    return np.array([[said[id][name] for name in one.classes] for id in ids])


def data_of(said: Said, *, root: Path | None) -> Medfmc:
    """The set that cases are of: at `root`, else where they were.

    Raises:
        UsageError: It is at neither place; says so.
    """
    wanted = said.place if said.place is not None and root is None else f"{PREFIX}{said.one.name}"
    try:
        found = open_dataset(wanted, root=root, settings={"lists": said.lists}).dataset
        found.splits()
    except OmlabError as error:
        raise UsageError(
            f"The lists that {said.folder} goes by are needed: name their place with --data. {error}"
        ) from error
    return cast(Medfmc, found)


def lists_in(data: Mapping[str, Any]) -> str:
    """The setting `lists` of a data set in the request of a run."""
    return str((data.get("settings") or {}).get("lists", ""))

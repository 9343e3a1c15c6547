"""What models said of MedFMC's images: the folders of `omlab predict --data medfmc-...`, case by case."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

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


@dataclass(frozen=True)
class Results:
    """A finished run of `omlab predict` on a set.

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
            return str(self.log["request"].get("data", {}).get("name", "")).startswith(PREFIX)
        except InputError:
            return False

    @property
    def one(self) -> MedfmcSet:
        """The set that it is of. Raises `InputError` where it is of other data."""
        if not str(self.log["request"].get("data", {}).get("name", "")).startswith(PREFIX):
            raise InputError(f"{self.folder} was not made with --data {PREFIX}NAME: its cases are not MedFMC's.")
        return set_of(self.log["request"]["data"]["name"].removeprefix(PREFIX))

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

    def has(self, id: str) -> bool:
        """Whether a case is among its."""
        return id in self._cases

    def scores(self, ids: Sequence[str], one: MedfmcSet) -> Scores:
        """Scores (N, K) of cases, in the order of the set's classes.

        Raises:
            InputError: A case has no result, or one of other classes.
        """
        missing = [id for id in ids if (record := self._cases.get(id)) is None or record.status != "done"]
        if missing:
            raise InputError(
                f"{self.folder} has no result for {len(missing)} of the {len(ids)} images of {one.folders[1]}, such as "
                f"{missing[0]}: let 'omlab predict' do them all."
            )
        return np.array([self._row(id, one) for id in ids])

    @cached_property
    def _cases(self) -> CaseLog:
        return CaseLog(self.folder)

    def _row(self, id: str, one: MedfmcSet) -> list[float]:
        found = self._result(id)
        said = dict(zip(found.names, found.probabilities, strict=True)) if isinstance(found, Classes) else {}
        if said.keys() != set(one.classes):
            raise InputError(
                f"{self.folder}: the classes of '{id}' are {', '.join(said) or 'none'}, not those of {one.folders[1]}: "
                f"{', '.join(one.classes[:3])}{', ...' if len(one.classes) > len(one.classes[:3]) else ''}."
            )
        return [said[name] for name in one.classes]

    def _result(self, id: str) -> Any:
        collected = self.log.get("collected")
        if collected:
            card = next(card for card in format_cards() if card.name == collected["format"])
            return implementation(card).read(self.folder / collected["path"], kind=Classes.kind, key=id)
        record = self._cases.get(id)
        assert record is not None
        return read(self.folder / record.main()[0], kind=Classes.kind)


def data_of(results: Results, *, root: Path | None) -> Medfmc:
    """The set that a run's cases are of: at `root`, else where the run had it.

    Raises:
        UsageError: It is at neither place; says so.
    """
    named = [str(name) for name in results.log.get("arguments", {}).get("inputs", [])]
    wanted = named[0] if named and root is None else f"{PREFIX}{results.one.name}"
    try:
        found = open_dataset(wanted, root=root, settings={"lists": _lists_of(results)}).dataset
        found.splits()
    except OmlabError as error:
        raise UsageError(
            f"The lists that {results.folder} goes by are needed: name their place with --data. {error}"
        ) from error
    return cast(Medfmc, found)


def _lists_of(results: Results) -> str:
    return str(results.log["request"]["data"].get("settings", {}).get("lists", ""))

"""The known cases: what `omlab embed` left, a run folder or one file, with the log that says what each row is of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from omlab.arguments import path_of
from omlab.errors import InputError
from omlab.records import CaseLog, Record
from omlab.run_folder import LOG, partial_of, read_log, read_log_file
from omlab_payloads.embeddings import open_embeddings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = "embeddings"
HINT = "make one with omlab embed MODEL images/ -o features/"


class Records(Protocol):
    """What became of each case."""

    def get(self, id: str, /) -> Record | None:
        """The record of a case; None where there is none."""
        ...


@dataclass(frozen=True, kw_only=True)
class Store:
    """Embeddings of known cases.

    Attributes:
        place: The folder or file that the user named.
        file: Of the embeddings.
        ids: Of the cases, by row.
        vectors: (N, D), memory-mapped.
        log: What `run.json` says: the request and the arguments of the run.
        records: By case, with the paths of its files.
    """

    place: Path
    file: Path
    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    log: Mapping[str, Any]
    records: Records

    @property
    def request(self) -> Mapping[str, Any]:
        """What the run was asked for."""
        found: Mapping[str, Any] = self.log["request"]
        return found

    @property
    def verb(self) -> str:
        """What gave the embeddings."""
        return str(self.request.get("verb", self.request["command"]))

    @property
    def model(self) -> Mapping[str, Any]:
        """The identity of the model that gave them."""
        found: Mapping[str, Any] = self.request["model"]
        return found


def open_store(place: str | Path) -> Store:
    """The embeddings in a run's folder, or in a file that `-o NAME.safetensors` made.

    Raises `InputError` where there are none, or it is not known what made them.
    """
    place = path_of(place, "The features")
    log, file = _of_file(place) if place.is_file() else _of_folder(place)
    request = log["request"]
    if not isinstance(request.get("model"), dict) or not isinstance(request.get("command"), str):
        raise InputError(f"{place} does not say which model made it: {HINT}.")
    ids, vectors = open_embeddings(file)
    if not ids:
        raise InputError(f"{place} holds no embedding: every case failed, or there was none.")
    records: Records = _Listed(log["cases"]) if "cases" in log else CaseLog(file.parent)
    return Store(place=place, file=file, ids=ids, vectors=vectors, log=log, records=records)


def records_of(records: Records, ids: Iterable[str]) -> dict[str, Record]:
    """The records of cases, by id, read with the logs opened once."""
    with ExitStack() as stack:
        if isinstance(records, CaseLog):
            stack.enter_context(records.opened())
        found = {id: records.get(id) for id in ids}
    return {id: record for id, record in found.items() if record is not None}


class _Listed:
    """The records in the log of a file."""

    def __init__(self, rows: list[Any]) -> None:
        records = [record for row in rows if (record := Record.from_json(row)) is not None]
        self._records = {record.id: record for record in records}

    def get(self, id: str, /) -> Record | None:
        return self._records.get(id)


def _of_file(file: Path) -> tuple[dict[str, Any], Path]:
    log = read_log_file(file.with_name(f"{file.name}.{LOG}"))
    if log is None or "cases" not in log:
        raise InputError(f"{file} has no {file.name}.{LOG} beside it, which says what model made it: {HINT}.")
    return log, file


def _of_folder(folder: Path) -> tuple[dict[str, Any], Path]:
    log = read_log(folder)
    if log is None and folder.exists():
        what = "is not the folder of a run" if any(folder.iterdir()) else "is empty"
        raise InputError(f"{folder} {what}: {HINT}.")
    if log is None and read_log(partial_of(folder)) is None:
        raise InputError(f"{folder} does not exist: {HINT}.")
    if log is None or log.get("finished") is None:
        raise InputError(f"{folder} is a run that was interrupted: start the same omlab embed again to end it.")
    collected = log.get("collected")
    if not collected:
        raise InputError(f"{folder} is a run of '{log.get('run')}' that holds no file of embeddings: {HINT}.")
    if collected["format"] != FORMAT:
        raise InputError(f"{folder} has what it holds as {collected['format']}, not as {FORMAT}: embed without --as.")
    return log, folder / collected["path"]

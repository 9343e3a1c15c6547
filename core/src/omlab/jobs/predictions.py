"""Results that were made before, as answers to be judged: those of a run, a file of many, files by case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import FormatCard
from omlab.digests import digest_of, file_digest
from omlab.errors import InputError, OmlabError
from omlab.formats import format_cards, implementation, read, read_format, suffix_of
from omlab.models import find_card
from omlab.payloads import Payload, Telling, keeps
from omlab.records import CaseLog
from omlab.roles import Evaluator, Sample
from omlab.run_folder import LOG, read_log, read_log_file
from omlab.runs import Run

Opened = tuple[Callable[[Sample], Any], Callable[[list[Any]], Sequence[Any]]]
"""What a reader makes of a sample, and what gives the results of a batch of those."""


def open_predictions(place: Path, kinds: Sequence[str], *, cases: Sequence[str]) -> Given:
    """The results in a folder or file, of one of some kinds. Raises `InputError` where no case can have one."""
    if place.is_file():
        return OfFile(place, kinds)
    log = read_log(place)
    if log is not None and log.get("finished") is not None and log["request"].get("model"):
        return OfRun(place, log, kinds)
    files = _files_by_case(place, kinds) if log is None and place.is_dir() else {}
    if files.keys().isdisjoint(cases):
        raise InputError(
            f"{place} is not the folder of a finished run of a model, such as 'omlab predict' makes, nor one of files "
            f"named by the cases of the data{f', such as {cases[0]}' if cases else ''}."
        )
    return OfFiles(place, files, kinds)


class OfRun:
    """The results of an earlier run, by the ids of its cases."""

    batch = 1

    def __init__(self, folder: Path, log: dict[str, Any], kinds: Sequence[str]) -> None:
        self.folder, self.run, self.log = folder, log, CaseLog(folder)
        self.name = str(log["request"]["model"]["name"])
        self.kind = kinds[0] if len(kinds) == 1 else self._kind_of(kinds)

    def request(self) -> dict[str, Any]:
        """The model of that run, and what it gave."""
        digest = digest_of([[record.id, record.status, record.outputs] for record in self.log])
        return {"model": self.run["request"]["model"], "predictions": digest}

    def open(self) -> Opened:
        """Results are read with their cases."""
        return self._result, lambda batch: batch

    def illustrate(self, run: Run, judge: Evaluator) -> None:
        """Nothing: there is no model to ask."""

    def _kind_of(self, kinds: Sequence[str]) -> str:
        """Which of the kinds the run gave, by the card of its model; the first where that model is gone."""
        try:
            does = find_card(self.run["arguments"]["model"]).does
        except OmlabError:
            return kinds[0]
        verb = self.run["request"]["command"]
        return does[verb].gives if verb in does and does[verb].gives in kinds else kinds[0]

    def _result(self, sample: Sample) -> Payload:
        record = self.log.get(sample.id)
        if record is None or record.status != "done":
            why = f": {record.reason}" if record else ""
            raise InputError(f"The run {self.folder} has no result for the case '{sample.id}'{why}.")
        collected = self.run.get("collected")
        if collected:
            card = next(card for card in format_cards() if card.name == collected["format"])
            return implementation(card).read(self.folder / collected["path"], kind=self.kind, key=sample.id)
        result = read(self.folder / record.main()[0], kind=self.kind)
        return cast(Payload, result.telling(record.values)) if record.values and keeps(result, Telling) else result


class OfFiles:
    """Files that are named by their cases, as another program left them: no model is known."""

    batch = 1
    name = ""

    def __init__(self, folder: Path, files: dict[str, Path], kinds: Sequence[str]) -> None:
        self.folder, self.files, self.kinds = folder, files, kinds

    def request(self) -> dict[str, Any]:
        """No model, and what the files hold."""
        return {"model": None, "predictions": digest_of([[id, file_digest(path)] for id, path in self.files.items()])}

    def open(self) -> Opened:
        """Files are read with their cases."""
        return self._result, lambda batch: batch

    def illustrate(self, run: Run, judge: Evaluator) -> None:
        """Nothing: there is no model to ask."""

    def _result(self, sample: Sample) -> Payload:
        path = self.files.get(sample.id)
        if path is None:
            example = next(iter(self.files.values())).name
            raise InputError(
                f"{self.folder} has no file for the case '{sample.id}': name each file by its case, as {example} is."
            )
        kind = next(kind for kind in self.kinds if suffix_of(path, _readers_of(kind)))
        return read(path, kind=kind)


class OfFile:
    """The results in one file of many, by the ids of their cases: of a run, or of whoever else writes such."""

    batch = 1

    def __init__(self, path: Path, kinds: Sequence[str]) -> None:
        self.path = path
        self.kind, self.card = self._read_as(kinds)
        log = read_log_file(path.with_name(f"{path.name}.{LOG}")) or {"request": {}}
        self.model: Mapping[str, Any] | None = log["request"].get("model")
        self.name = str(self.model["name"]) if self.model else ""

    def request(self) -> dict[str, Any]:
        """The model of the run that wrote it, if one did, and what the file holds."""
        return {"model": self.model, "predictions": file_digest(self.path)}

    def open(self) -> Opened:
        """Results are read with their cases."""
        return self._result, lambda batch: batch

    def illustrate(self, run: Run, judge: Evaluator) -> None:
        """Nothing: there is no model to ask."""

    def _read_as(self, kinds: Sequence[str]) -> tuple[str, FormatCard]:
        """The first of the kinds that the first entry of the file can be read as. Raises `InputError`."""
        errors = []
        for kind in kinds:
            card = read_format(self.path, kind)
            if not card.many:
                raise InputError(f"{self.path} holds one result: name the folder of a run, or a file of many.")
            format = implementation(card)
            try:
                format.read(self.path, kind=kind, key=format.index(self.path)[0])  # type: ignore[attr-defined]
            except InputError as error:
                errors.append(error)
            else:
                return kind, card
        raise errors[0]

    def _result(self, sample: Sample) -> Payload:
        return implementation(self.card).read(self.path, kind=self.kind, key=sample.id)


Given = OfRun | OfFiles | OfFile
"""Results that were made before."""


def _readers_of(kind: str) -> list[FormatCard]:
    return [card for card in format_cards() if kind in card.reads]


def _files_by_case(folder: Path, kinds: Sequence[str]) -> dict[str, Path]:
    """The files of those kinds in a folder and those below it, by their names without suffix, in order.

    Raises `InputError` where two have the same.
    """
    cards = [card for kind in kinds for card in _readers_of(kind)]
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        suffix = suffix_of(path, cards)
        case = path.relative_to(folder).as_posix().removesuffix(path.name[len(path.name) - len(suffix) :])
        if not suffix:
            continue
        if case in found:
            raise InputError(f"{found[case]} and {path} are both of the case '{case}': leave one of them.")
        found[case] = path
    return found

"""Results that were made before, as answers to be judged: those of a run, or files of which nobody knows the origin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import FormatCard
from omlab.digests import digest_of, file_digest
from omlab.errors import InputError, OmlabError
from omlab.formats import format_cards, implementation, read, suffix_of
from omlab.models import find_card
from omlab.payloads import Payload, Telling, keeps
from omlab.records import CaseLog
from omlab.roles import Evaluator, Sample
from omlab.run_folder import read_log
from omlab.runs import Run

Opened = tuple[Callable[[Sample], Any], Callable[[list[Any]], Sequence[Any]]]
"""What a reader makes of a sample, and what gives the results of a batch of those."""


def open_predictions(folder: Path, kinds: Sequence[str], *, cases: Sequence[str]) -> Given:
    """The results in `folder`, of one of some kinds. Raises `InputError` where there are none of any of the cases."""
    log = read_log(folder)
    if log is not None and log.get("finished") is not None and log["request"].get("model"):
        return OfRun(folder, log, kinds)
    files = _files_by_case(folder, kinds) if log is None and folder.is_dir() else {}
    if files.keys().isdisjoint(cases):
        raise InputError(
            f"{folder} is not the folder of a finished run of a model, such as 'omlab predict' makes, nor one of files "
            f"named by the cases of the data{f', such as {cases[0]}' if cases else ''}."
        )
    return OfFiles(folder, files, kinds)


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


Given = OfRun | OfFiles
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

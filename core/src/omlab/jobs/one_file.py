"""Results that go into one file: `-o mask.nii.gz` of one case, `-o vectors.csv` of many where the format collects.

They are made in a run beside it, whose log is kept as `<file>.run.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

from omlab.errors import OutputError, UsageError
from omlab.files import write_json, writing
from omlab.formats import format_cards, suffix_of
from omlab.jobs.outcome import Outcome
from omlab.jobs.outputs import PICTURE, file_name, file_writers
from omlab.payloads import an
from omlab.records import Record
from omlab.roles import Case
from omlab.run_folder import LOG, read_log_file, same_request
from omlab.stamps import all_agree, parts_of

_FILES = (
    PICTURE,
    ".docx",
    ".gz",
    ".htm",
    ".html",
    ".jpeg",
    ".jpg",
    ".pdf",
    ".tif",
    ".tiff",
    ".txt",
    ".xls",
    ".xlsx",
    ".zip",
)
"""Suffixes that mean a file, whatever formats are installed: a folder `run.v2` is none."""


@dataclass(frozen=True, kw_only=True)
class OneFile:
    """The file that results go into.

    Attributes:
        path: The file.
        kind: Of the run.
        request: Of the run.
        collected: Name of the file in the run that holds the results of all cases; "" where there is one case.
    """

    path: Path
    kind: str
    request: Mapping[str, Any]
    collected: str = ""

    @property
    def log(self) -> Path:
        """Where its log is kept."""
        return self.path.with_name(f"{self.path.name}.{LOG}")

    @property
    def run(self) -> Path:
        """Where it is made."""
        return self.path.absolute().with_name(f".{self.path.name}.run")

    def check(self, cases: Sequence[Case]) -> None:
        """Raise `UsageError` where there are more cases than such a file holds."""
        if len(cases) != 1 and not self.collected:
            raise UsageError(f"{len(cases)} inputs cannot go into one file {self.path}; name a folder with -o.")

    def there(self, cases: Sequence[Case]) -> Outcome | None:
        """What an earlier start made of the same request and inputs; None where there is no such, or a case failed.

        Raises `OutputError` where the file is of something else.
        """
        if not self.path.exists():
            return None
        known = read_log_file(self.log)
        if known is None:
            raise OutputError(
                f"{self.path} exists already and is not a result of omlab; remove it or choose another output."
            )
        by_id = {record.id: record for record in _records(known)}
        done = {id for id, record in by_id.items() if record.status == "done"}
        if (
            not same_request(known, self.kind, self.request)
            or set(by_id) != {case.id for case in cases}
            or not all(all_agree(by_id[case.id], parts_of(case)) for case in cases if case.id in done)
        ):
            raise OutputError(f"{self.path} is the result of another request; remove it or choose another output.")
        if len(done) < len(by_id):
            return None
        return Outcome(place=self.path, log=list(by_id.values()), was_complete=True)

    def make(self, do: Callable[[Path], Outcome]) -> Outcome:
        """Have the run made (`do(its folder)`), and move what came of it to where it was asked for."""
        outcome = do(self.run)
        records = list(outcome)
        done = [record for record in records if record.status == "done"]
        if done:
            with writing("The result", self.path):
                if self.collected:
                    (self.run / self.collected).replace(self.path)
                else:
                    self._move(done[0])
                known = read_log_file(self.run / LOG) or {}
                write_json(self.log, {**known, "cases": [record.to_json() for record in records]})
        rmtree(self.run, ignore_errors=True)
        return replace(outcome, place=self.path, log=records)

    def _move(self, record: Record) -> None:
        """Give the main output the file's name, and what stands beside it and further parts names like it."""
        mains = [row for row in record.outputs if row["role"] == "main"]
        own = next((row for row in mains if row["format"] == self.request.get("format")), mains[0])
        made, stem = own["path"], file_name(record.id)
        before = {path for earlier in _records(read_log_file(self.log) or {}) for path in earlier.paths()}
        for row in list(record.outputs):
            name = self.path.name if row is own else _beside_name(self.path.name, made, row["path"], stem)
            place = self.path.with_name(name)
            if row is not own and place.exists() and name not in before:
                record.warnings.append(f"{place} exists already and was left as it is.")
                record.outputs.remove(row)
                continue
            (self.run / row["path"]).replace(place)
            row["path"] = name


def _records(described: Mapping[str, Any]) -> list[Record]:
    """The cases that a file's log tells of."""
    return [record for row in described.get("cases", []) if (record := Record.from_json(row)) is not None]


def _beside_name(main: str, made: str, other: str, stem: str) -> str:
    """`seg.nii.gz` beside `ct.dcm` of the case `ct` makes `seg.dcm`; a further part makes `seg.transform.nii.gz`."""
    suffix = made.removeprefix(stem)
    if not main.endswith(suffix):  # a part's name stands before its suffix
        suffix = suffix_of(Path(main), format_cards()) or ""
    base = main.removesuffix(suffix) if suffix else main
    return base + other.removeprefix(stem)


def is_one_file(output: str, gives: str) -> bool:
    """Whether `output` is a file for results of kind `gives`, not a folder.

    Raises `UsageError` where its suffix is that of a file, but of no format that writes such a result.
    """
    writers = [card for card in format_cards() if gives in card.writes]
    if suffix_of(Path(output), [card for card in writers if card.folders]):
        return True
    if output.endswith("/") or Path(output).is_dir():
        return False
    if suffix_of(Path(output), file_writers(gives)):
        return True
    if not suffix_of(Path(output), format_cards()) and not output.lower().endswith(_FILES):
        return False
    known = ", ".join(sorted({suffix for card in writers for suffix in card.suffixes}))
    picture = " A picture is asked for with --overlay." if output.lower().endswith(PICTURE) else ""
    raise UsageError(
        f"{an(gives).capitalize()} cannot be written to {output}; suffixes that would do: {known or 'none'}; "
        f"a slash at its end would make it a folder.{picture}"
    )

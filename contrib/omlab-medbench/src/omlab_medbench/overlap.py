"""What `omlab medbench overlap` does: whether a training corpus holds the questions, or the canary of a draw.

`report.json` (`"schema": "omlab-medbench-overlap/1"`), beside `metrics` and `notes` of every report:

    sets      by set: items, checked (long enough to be looked for), overlapping, and their share
    items     [set, id] of the overlapping ones, which `omlab medbench score --overlap` leaves out
    canaries  that were found, with the files
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omlab import FileCase, run_cases
from omlab.errors import InputError, UsageError
from omlab.jobs.concluding import REPORT
from omlab.jobs.outcome import Outcome
from omlab.json_lines import read_json_lines
from omlab.roles import Metric, Report, Rows
from omlab_medbench.draw import drawn_canary
from omlab_medbench.ngrams import LEAST, Ngrams, Places
from omlab_medbench.questions import key_of, read_questions
from omlab_medbench.rows import Key
from omlab_medbench.tasks import read_tasks

SCHEMA = "omlab-medbench-overlap/1"
TEXTS = (".txt", ".md")
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class OverlapSettings:
    """`n` words of an n-gram; from which `share` of its n-grams on a question overlaps."""

    n: int = 13
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.n < LEAST or not 0 < self.share <= 1:
            raise UsageError(f"n is {self.n} and share {self.share:g}: n must be {LEAST} or more, share above 0 to 1.")


def overlap(
    questions: Path,
    corpus: Sequence[Path],
    *,
    settings: OverlapSettings,
    draws: Sequence[Path] = (),
    canaries: Sequence[str] = (),
    tasks: Path | None = None,
    output: str | Path | None = None,
) -> Outcome:
    """Look for questions and canaries in a corpus, as one run with a report; each file of the corpus is a case.

    Args:
        questions: The pool: JSON lines, or the published folder.
        corpus: Files (JSON lines, whose texts all count, or plain text), or folders of such.
        settings: What counts as overlap.
        draws: Folders of draws, whose canaries are looked for.
        canaries: Further texts that must not occur.
        tasks: TOML file with the sets of another version of MedBench.
        output: The run's folder; None: one in `omlab-runs/`.

    Raises:
        OmlabError: What was given cannot be used; says where and why.
    """
    pool = read_questions(questions, tasks=read_tasks(tasks))
    looked = Ngrams({key_of(row): row["question"] for row in pool}, n=settings.n)
    wanted = [*canaries, *map(drawn_canary, draws)]
    files = _corpus_files(corpus)
    asked = sorted(questions.glob("*.jsonl")) if questions.is_dir() else [questions]
    request = {"command": "medbench overlap", "n": settings.n, "share": settings.share, "canaries": sorted(wanted)}

    def report(rows: Rows, folder: Path) -> Report:
        # The page draws figures: its imports would slow down everything else.
        from omlab_medbench.overlap_page import write_overlap

        found: Places = {}
        for row in (row for case in rows.values() for row in case):
            for name, id, places in row["items"]:
                found.setdefault((name, id), set()).update(places)
        details = _details(looked, found, rows, share=settings.share)
        notes = _notes(looked, details, settings)
        write_overlap(details, looked.counts, found, notes=notes, folder=folder)
        metrics = [
            Metric(name="overlap", label=name, value=row["share"], n=row["checked"], higher_is_better=False)
            for name, row in details["sets"].items()
        ]
        return Report(metrics=metrics, notes=notes, details=details)

    return run_cases(
        [FileCase(id=name, files={"corpus": [path], "questions": asked}) for name, path in files.items()],
        lambda case, folder: {"rows": [_looked_through(case.files["corpus"][0], looked, wanted)]},
        output=output,
        request=request,
        kind="medbench-overlap",
        arguments={"questions": str(questions), "corpus": [str(path) for path in corpus]},
        report=report,
    )


def overlapping_items(folder: Path) -> frozenset[Key]:
    """The questions that overlap, by the report of a run. Raises `InputError` where the folder is no such run's."""
    try:
        items = json.loads((folder / REPORT).read_text(encoding="utf-8"))["items"]
        return frozenset((str(name), str(id)) for name, id in items)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder} is not a run of 'omlab medbench overlap': it has no such {REPORT}.") from None


def _looked_through(path: Path, looked: Ngrams, canaries: Sequence[str]) -> Row:
    """What stands in one file of the corpus."""
    found: Places = {}
    seen: set[str] = set()

    def watched(lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            seen.update(canary for canary in canaries if canary in line)
            yield line

    if path.suffix == ".jsonl":
        for _, row in read_json_lines(path):
            looked.find_in_lines(watched(_texts_in(row)), found)
    else:
        looked.find_in_lines(watched(_lines_of(path)), found)
    items = [[name, id, sorted(places)] for (name, id), places in sorted(found.items())]
    return {"items": items, "canaries": sorted(seen)}


def _texts_in(value: Any) -> Iterator[str]:
    """All texts of a row, in their order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts_in(part)


def _lines_of(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as stream:
            yield from stream
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text.") from None


def _corpus_files(corpus: Sequence[Path]) -> dict[str, Path]:
    """The files by a name for each. Raises `InputError` where a place holds none."""
    files: dict[str, Path] = {}
    for place in corpus:
        if not place.exists():
            raise InputError(f"{place} does not exist.")
        found = sorted(p for p in place.rglob("*") if p.suffix in (".jsonl", *TEXTS)) if place.is_dir() else [place]
        if not found:
            raise InputError(f"{place} holds no texts: they are .jsonl, {' or '.join(TEXTS)} files.")
        for path in found:
            name = path.relative_to(place.parent).as_posix() if place.is_dir() else path.name
            if name in files:
                raise InputError(f"{path} and {files[name]} are both called {name}: name the folder that holds both.")
            files[name] = path
    return files


def _details(looked: Ngrams, found: Places, rows: Rows, *, share: float) -> Row:
    overlapping = [key for key, places in found.items() if len(places) >= share * looked.counts[key]]
    sets: dict[str, Row] = {}
    for (name, _), count in looked.counts.items():
        row = sets.setdefault(name, {"items": 0, "checked": 0, "overlapping": 0, "share": None})
        row["items"] += 1
        row["checked"] += count > 0
    for name, _ in overlapping:
        sets[name]["overlapping"] += 1
    for row in sets.values():
        row["share"] = row["overlapping"] / row["checked"] if row["checked"] else None
    canaries: dict[str, list[str]] = {}
    for file, (case,) in rows.items():
        for canary in case["canaries"]:
            canaries.setdefault(canary, []).append(file)
    return {"schema": SCHEMA, "sets": sets, "items": sorted(map(list, overlapping)), "canaries": canaries}


def _notes(looked: Ngrams, details: Row, settings: OverlapSettings) -> list[str]:
    notes = [
        f"A question overlaps where {settings.share:.0%} or more of its {looked.n}-grams stand in the corpus. Each "
        "Chinese character is a word; marks and case do not count.",
        "N-grams that many questions share are left out: they are the wording of a set. Options are not looked for.",
    ]
    short = sum(row["items"] - row["checked"] for row in details["sets"].values())
    if short:
        notes.append(f"Questions of fewer than {LEAST} words, which were not looked for: {short}.")
    for canary, files in details["canaries"].items():
        notes.append(f"The canary {canary} stands in {', '.join(files)}: this corpus holds the items of a draw.")
    return notes

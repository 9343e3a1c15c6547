"""A page about a data set: counts, classes, what is wrong, and pictures of a few cases. Needs omlab-report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from omlab.errors import MissingDependencyError, OmlabError
from omlab.files import writing
from omlab.payloads import Pictured, keeps
from omlab.roles import Case
from omlab_data.verify import Findings

if TYPE_CHECKING:
    from omlab_report import GalleryItem, Section

PAGE = "data.html"


class Looked(Protocol):
    """A data set that was read through."""

    def some_cases(self) -> Iterable[tuple[str, Case]]:
        """A few cases, each with its split."""
        ...

    def verify(self) -> Sequence[str]:
        """What is wrong."""
        ...

    def findings(self) -> Findings:
        """What reading everything found."""
        ...


def write_report(data: Looked, folder: Path, *, title: str) -> list[Path]:
    """Write `data.html` into `folder`. Raises `MissingDependencyError` without omlab-report, `OutputError`."""
    try:
        from omlab_report import Gallery, Notes, Page, Section, write_page
    except ModuleNotFoundError:
        raise MissingDependencyError("The page about the data needs omlab-report: pip install omlab-report.") from None
    problems = list(data.verify())
    sections = [Section("What is wrong", [Notes(problems or ["Nothing."])]), *_counts(data.findings())]
    pictures = list(_pictures(data.some_cases()))
    if pictures:
        sections.append(Section("A few cases", [Gallery(pictures)], text="Inputs, with targets that can be drawn."))
    with writing("The report", folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_page(Page(title, sections), folder / PAGE)
    return [folder / PAGE]


def _counts(findings: Findings) -> Iterator[Section]:
    from omlab_report import Column, Section, Table

    columns = [Column("Split"), *(Column(name, numeric=True) for name in ("Cases", "With a target", "Groups"))]
    rows = [
        [split, counts.cases, counts.targets, len(counts.groups) or None] for split, counts in findings.splits.items()
    ]
    yield Section("Splits", [Table(columns, rows)])
    if findings.names:
        names = list(dict.fromkeys(findings.names.values()))
        splits = list(findings.splits.items())
        columns = [Column("Class"), *(Column(split, numeric=True) for split, _ in splits)]
        rows = [[name, *(counts.classes[name] for _, counts in splits)] for name in names]
        yield Section("Classes", [Table(columns, rows)], text="Cases that a class occurs in.")


def _pictures(cases: Iterable[tuple[str, Case]]) -> Iterator[GalleryItem]:
    """Of the cases whose target, or an input, can be drawn; a case that cannot be read is told of elsewhere."""
    from omlab_report import GalleryItem, Picture

    for split, case in cases:
        try:
            sample = case.load()
            found = [one for one in (sample.target, *sample.inputs.values()) if keeps(one, Pictured)]
            if found:
                label = getattr(case, "label", None)
                words = split if label is None else f"{split}, {label}"
                yield GalleryItem(case.id, [Picture(found[0].overlay(sample.inputs), alt=case.id)], text=words)
        except OmlabError:
            continue

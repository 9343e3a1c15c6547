"""The table of all slides whose features are there, with those that failed and why: `report.html`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.jobs.outputs import file_name
from omlab.records import CaseLog
from omlab.roles import Metric, Report, Rows
from omlab_report import (
    Column,
    Gallery,
    GalleryItem,
    KeyFigure,
    KeyFigures,
    Notes,
    Page,
    Picture,
    Section,
    Table,
    read_run,
    run_sections,
    write_page,
)

PAGE = "report.html"
THUMBNAIL = ".jpg"
MOST_PICTURES = 200
DICE = "Of the annotated patches and as many with the highest scores"
NOTES = (
    "Each slide has a page of its own beside this one, named after it.",
    "Tissue is what the patches show of it: their area times their share of tissue, overlaps counted once.",
)


def conclude(rows: Rows, folder: Path, *, failed: Mapping[str, str]) -> Report:
    """Write the page of a cohort. `failed`: slides without features, and why."""
    found = {id: dict(row) for id, (row,) in rows.items()}
    here = {record.id: record.reason for record in CaseLog(folder) if record.status == "failed"}
    patches = sum(row["patches"] for row in found.values())
    area = sum(row["tissue_mm2"] or 0.0 for row in found.values())
    told = [row["dice"] for row in found.values() if row["dice"] is not None]
    dice = sum(told) / len(told) if told else None
    figures = [
        KeyFigure("Slides", len(found)),
        KeyFigure("Without features", len(failed)),
        KeyFigure("Patches", f"{patches:,}"),
        KeyFigure("Tissue in patches", area / 100, unit="cm²", digits=2),
    ]
    if told:
        figures.append(KeyFigure("Dice with annotations", dice, digits=2, note=f"mean of {len(told)} slides"))
    sections = [Section("", [KeyFigures(figures)]), _table(found), *_gallery(found, folder)]
    if failed or here:
        reasons = [f"{id}: {reason}" for id, reason in sorted({**failed, **here}.items())]
        sections.append(Section("Slides without features, or without a page", [Notes(reasons)]))
    sections += [Section("How to read it", [Notes(NOTES)]), *run_sections(read_run(folder))]
    count = len(found)
    notices = dict.fromkeys(notice for row in found.values() for notice in row["notices"])
    write_page(Page(f"{count} slide{'s' if count != 1 else ''}", sections, notices=[*notices]), folder / PAGE)
    metrics = [
        Metric(name="slides", value=count, n=count),
        Metric(name="patches", value=patches, n=count),
        Metric(name="tissue", value=area / 100, n=count, unit="cm²"),
        *([Metric(name="dice of top patches", value=dice, n=len(told))] if told else []),
    ]
    return Report(metrics=metrics, notes=NOTES, details={"slides": [{"id": id, **row} for id, row in found.items()]})


def _table(found: Mapping[str, Mapping[str, Any]]) -> Section:
    """A row a slide; what no slide has is no column, and what all share stands above."""
    shown = [
        (Column("Patches", numeric=True), "patches"),
        (Column("Tissue (mm²)", numeric=True, digits=2), "tissue_mm2"),
        (Column("Annotated", numeric=True, help="Patches that an annotation covers by at least a half"), "annotated"),
        (Column("Dice", numeric=True, digits=2, help=DICE), "dice"),
        (Column("µm a pixel", numeric=True, digits=3), "mpp"),
        (Column("Size (mm)"), "size_mm"),
        (Column("Highest at (mm)"), "highest_mm"),
        (Column("Encoder"), "encoder"),
    ]
    encoders = {row["encoder"] for row in found.values()}
    text = f"Features of {', '.join(encoders)}." if len(encoders) == 1 and any(encoders) else ""
    told = [
        (column, name)
        for column, name in shown
        if not (text and name == "encoder") and any(row[name] not in (None, "") for row in found.values())
    ]
    cells = [[id, *(row[name] for _, name in told)] for id, row in sorted(found.items())]
    return Section("Slides", [Table([Column("Slide"), *(column for column, _ in told)], cells)], text=text)


def _gallery(found: Mapping[str, Any], folder: Path) -> list[Section]:
    pictures = []
    for id in sorted(found)[:MOST_PICTURES]:
        place = folder / f"{file_name(id)}{THUMBNAIL}"
        if place.is_file():
            pictures.append(Picture(place.read_bytes(), alt=f"{id} with its tissue and patches", caption=id))
    return [Section("Thumbnails", [Gallery([GalleryItem("", pictures)])])] if pictures else []

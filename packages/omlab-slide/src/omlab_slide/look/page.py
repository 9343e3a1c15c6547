"""What looking at slides comes to: `slides.csv`, and a contact sheet, `report.html`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    write_text,
)
from omlab_report.tables import csv_text
from omlab_slide.look.picture import OUTLINE, PATCH

PICTURE = ".jpg"
TABLE = "slides.csv"
PAGE = "report.html"
MOST_PICTURES = 500
MOST_ROWS = 2000

HEADER = (
    "id", "status", "width", "height", "levels", "mpp", "tissue_mm2", "tissue_share", "pieces", "patches", "pen",
    "folds", "sharpness", "glass_r", "glass_g", "glass_b", "corrupt", "flags", "reason",
)  # fmt: skip

NOTES = (
    "Flags are for looking at a slide, not for leaving it out. Pen: more than 0.1 % of it has the colour of a green, "
    "blue or black pen (red ink cannot be told from eosin); it does not count as tissue. Blur: patches of tissue are "
    "less sharp than such in focus. Folds: more than 2 % of the tissue is darker and more saturated than one layer. "
    "Background: the glass is not bright. Corrupt: parts could not be decoded, as far as was looked.",
    "Sharpness is the variance of the Laplacian over that of the luminance at 1 micrometre a pixel, the median of 16 "
    "patches: about 0.4 to 2 in focus, below 0.1 out of it.",
    "A slide that fails has its reason; nothing of the others waits for it. Correct it and start the command again: "
    "only what is missing or changed is done.",
)


def conclude(rows: Rows, folder: Path, *, request: Mapping[str, Any]) -> Report:
    """Write `slides.csv` and the contact sheet. The report has the sums over all slides."""
    found = {id: dict(row) for id, (row,) in rows.items()}
    failed = {record.id: record.reason for record in CaseLog(folder) if record.status == "failed"}
    _write_table(found, failed, folder)
    _write_page(found, failed, folder, request)
    with_patches = sum(row["patches"] > 0 for row in found.values())
    metrics = [
        Metric(name="slides", value=len(found), n=len(found)),
        Metric(name="with patches", value=with_patches, n=len(found)),
        Metric(name="patches", value=sum(row["patches"] for row in found.values()), n=len(found)),
        Metric(name="tissue", value=_area(found) / 100, n=len(found), unit="cm²"),
    ]
    return Report(metrics=metrics, notes=NOTES, details={"slides": _ordered(found, failed)})


def _area(found: Mapping[str, Mapping[str, Any]]) -> float:
    return float(sum(row["tissue_mm2"] or 0.0 for row in found.values()))


def _ordered(found: Mapping[str, Any], failed: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row a slide, ordered by id."""
    rows = [{"id": id, "status": "done", **row} for id, row in found.items()]
    rows += [{"id": id, "status": "failed", "flags": [], "reason": reason} for id, reason in failed.items()]
    return sorted(rows, key=lambda row: str(row["id"]))


def _write_table(found: Mapping[str, Any], failed: Mapping[str, str], folder: Path) -> None:
    lines = []
    for row in _ordered(found, failed):
        glass = row.get("glass") or (None, None, None)
        flat = {
            **row,
            "flags": ";".join(row["flags"]),
            **dict(zip(("glass_r", "glass_g", "glass_b"), glass, strict=True)),
        }
        lines.append(["" if flat.get(name) is None else flat[name] for name in HEADER])
    write_text(csv_text(HEADER, lines), folder / TABLE)


def _write_page(found: Mapping[str, Any], failed: Mapping[str, str], folder: Path, request: Mapping[str, Any]) -> None:
    rows = _ordered(found, failed)
    count = len(rows)
    flagged = sum(bool(row["flags"]) for row in rows)
    patches = sum(row.get("patches", 0) for row in rows)
    figures = [
        KeyFigure("Slides", count, note=f"{len(failed)} failed" if failed else ""),
        KeyFigure("With patches", sum(row.get("patches", 0) > 0 for row in rows)),
        KeyFigure("Patches", f"{patches:,}", note=f"{request['patch']} pixels at {request['mpp']:g} µm a pixel"),
        KeyFigure("Tissue", _area(found) / 100, unit="cm²", digits=2),
        KeyFigure("Flagged", flagged),
    ]
    page = Page(
        f"A look at {count} slide{'s' if count != 1 else ''}",
        [
            Section("", [KeyFigures(figures)]),
            _sheet(rows, folder),
            _table(rows),
            Section("How to read it", [Notes(NOTES)]),
            *run_sections(read_run(folder)),
        ],
        subtitle=f"Tissue by {request['tissue']}; a patch holds at least {100 * request['least_share']:.0f} % of it. "
        f"Nothing else was done. Every figure is in {TABLE}.",
    )
    write_page(page, folder / PAGE)


def _sheet(rows: list[dict[str, Any]], folder: Path) -> Section:
    pictures = list(_pictures(rows[:MOST_PICTURES], folder))
    legend = {"tissue": OUTLINE, "patches": PATCH}
    left = len(rows) - len(pictures)
    text = f"The first {len(pictures)}; {left} more are in {TABLE}." if left else ""
    return Section("Contact sheet", [Gallery([GalleryItem("", pictures)], legend=legend)], text=text)


def _pictures(rows: list[dict[str, Any]], folder: Path) -> Iterator[Picture]:
    for row in rows:
        place = folder / f"{file_name(row['id'])}{PICTURE}"
        if row["status"] == "failed" or not place.is_file():
            yield Picture(None, alt=f"{row['id']}: {row['reason']}", caption=f"{row['id']}: failed")
            continue
        words = [f"{row['tissue_mm2']:.1f} mm² tissue", f"{row['patches']:,} patches", f"{row['mpp']:.3g} µm a pixel"]
        doubts = ", ".join(_doubts(row)).capitalize()
        caption = f"{row['id']}: {', '.join(words)}" + (f". {doubts}." if doubts else "")
        yield Picture(place.read_bytes(), alt=f"{row['id']} with its tissue and patches", caption=caption)


def _doubts(row: Mapping[str, Any]) -> list[str]:
    return [*row["flags"], *([row["reason"]] if row["reason"] else [])]


def _table(rows: list[dict[str, Any]]) -> Section:
    columns = [
        Column("Slide"),
        Column("Tissue (mm²)", numeric=True, digits=2),
        Column("Patches", numeric=True),
        Column("µm a pixel", numeric=True, digits=3),
        Column("Doubts"),
        Column("Size (mm)"),
        Column("Levels", numeric=True),
        Column("Tissue (%)", numeric=True, digits=1),
        Column("Pen (%)", numeric=True, digits=2),
        Column("Folds (%)", numeric=True, digits=1),
        Column("Sharpness", numeric=True, digits=2),
    ]
    cells = [
        [
            row["id"],
            row.get("tissue_mm2"),
            row.get("patches"),
            row.get("mpp"),
            "failed: see below" if row["status"] == "failed" else ", ".join(_doubts(row)),
            "" if "mpp" not in row else _size(row),
            row.get("levels"),
            _percent(row.get("tissue_share")),
            _percent(row.get("pen")),
            _percent(row.get("folds")),
            row.get("sharpness"),
        ]
        for row in rows[:MOST_ROWS]
    ]
    left = len(rows) - MOST_ROWS
    text = f"The first {MOST_ROWS:,} rows; {left:,} more are in {TABLE}." if left > 0 else ""
    return Section("Slides", [Table(columns, cells)], text=text)


def _size(row: Mapping[str, Any]) -> str:
    return " x ".join(f"{row[side] * row['mpp'] / 1000:.1f}" for side in ("width", "height"))


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share

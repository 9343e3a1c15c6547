"""What all cases of a run come to: a table, a page with a picture a case, and the mean volume of each structure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from omlab.jobs.outputs import PICTURE, file_name
from omlab.roles import Metric, Report, Rows
from omlab_measure.files import write_table
from omlab_measure.measurements import Measurements
from omlab_report import (
    Column,
    Gallery,
    GalleryItem,
    Interval,
    Notes,
    Page,
    Picture,
    Section,
    Table,
    read_run,
    run_sections,
    write_page,
)

TABLE = "measurements.csv"
PAGE = "report.html"
MOST_PICTURES = 200
MOST_ROWS = 2000

NOTES = (
    "Volume is that of the labelled voxels. Its bounds say what voxels at the border leave open, if each has the label "
    "of what fills at least half of it; they do not say whether the border was found in the right place.",
    "Long and short axis are those of RECIST 1.1, found by the computer: the longest line within an axial slice, and "
    "the longest at right angles to it. Their bounds are one voxel along the line.",
    "The mean in brackets is that of voxels whose neighbours are all in the structure: a large difference says that "
    "the border holds something else.",
    "A structure that touches the image's edge may go on beyond: its figures are of what the image shows.",
    "Measurements are not a diagnosis: look at the contours before you rely on them.",
)


def conclude(rows: Rows, folder: Path) -> Report:
    """Write `measurements.csv` and `report.html`; the report has each structure's mean volume with its bounds."""
    cases = {id: Measurements.from_value(row) for id, (row,) in rows.items()}
    write_table(cases, folder / TABLE)
    _write_page(cases, folder)
    return Report(metrics=_volumes(cases), notes=NOTES)


def _volumes(cases: Mapping[str, Measurements]) -> list[Metric]:
    by_name: dict[str, list[tuple[float, ...]]] = {}
    for found in cases.values():
        for entry in found.structures:
            figures = tuple(entry.figures.get(f"volume{part}_ml") or 0.0 for part in ("", "_low", "_high"))
            by_name.setdefault(entry.name, []).append(figures)
    means = {
        name: [sum(figures) / len(volumes) for figures in zip(*volumes, strict=True)]
        for name, volumes in by_name.items()
    }
    return [
        Metric(name="volume", label=name, value=value, low=low, high=high, n=len(by_name[name]), unit="ml")
        for name, (value, low, high) in means.items()
    ]


def _write_page(cases: Mapping[str, Measurements], folder: Path) -> None:
    count = sum(len(found.structures) for found in cases.values())
    what = next(iter(cases)) if len(cases) == 1 else f"{len(cases)} cases"
    page = Page(
        f"Measurements of {what}",
        [
            *_pictures(cases, folder),
            _table(cases),
            Section("How to read it", [Notes(NOTES)]),
            *run_sections(read_run(folder)),
        ],
        subtitle=f"{count:,} structures; every figure is in {TABLE}",
    )
    write_page(page, folder / PAGE)


def _pictures(cases: Mapping[str, Measurements], folder: Path) -> list[Section]:
    places = {id: folder / f"{file_name(id)}{PICTURE}" for id in cases}
    drawn = [id for id, place in places.items() if place.is_file()]
    items = [
        GalleryItem(id, [Picture(places[id].read_bytes(), alt=f"The largest structures of {id} with their axes")])
        for id in drawn[:MOST_PICTURES]
    ]
    if not items:
        return []
    left = len(drawn) - len(items)
    text = "The largest structures, each in the slice of its long axis (yellow); across it the short axis (blue)."
    return [Section("Pictures", [Gallery(items)], text=text + (f" {left} more cases have a picture." if left else ""))]


def _table(cases: Mapping[str, Measurements]) -> Section:
    several = len(cases) > 1
    unit = next((found.intensity_unit for found in cases.values() if found.intensity_unit), "")
    has_image = any("mean" in found.units() for found in cases.values())
    columns = [
        *([Column("Case")] if several else []),
        Column("Structure"),
        Column("Volume (ml)", numeric=True, digits=2),
        Column("Long axis (mm)", numeric=True, digits=1),
        Column("Short axis (mm)", numeric=True, digits=1),
        Column("3-D diameter (mm)", numeric=True, digits=1),
        Column("Surface (cm²)", numeric=True, digits=1),
        Column("Sphericity", numeric=True, digits=2),
        *([Column(f"Mean{f' ({unit})' if unit else ''}"), Column("SD", numeric=True, digits=1)] if has_image else []),
        Column("Edge"),
    ]
    rows = []
    for id, found in cases.items():
        for entry in found.structures:
            figures = entry.figures
            area = figures.get("surface_area_mm2")
            mean, inner = figures.get("mean"), figures.get("mean_inner")
            rows.append(
                [
                    *([id] if several else []),
                    entry.name,
                    *(_with_bounds(figures, name) for name in ("volume", "long_axis", "short_axis", "diameter_3d")),
                    None if area is None else area / 100,
                    figures.get("sphericity"),
                    *([_mean(mean, inner), figures.get("sd")] if has_image else []),
                    "cut" if entry.touches_edge else "",
                ]
            )
    left = len(rows) - MOST_ROWS
    text = f"The first {MOST_ROWS:,} rows; {left:,} more are in {TABLE}." if left > 0 else ""
    return Section("Structures", [Table(columns, rows[:MOST_ROWS])], text=text)


def _with_bounds(figures: Mapping[str, float | None], name: str) -> Interval:
    unit = "ml" if name == "volume" else "mm"
    return Interval(*(figures.get(f"{name}{part}_{unit}") for part in ("", "_low", "_high")))


def _mean(mean: float | None, inner: float | None) -> str:
    if mean is None:
        return ""
    return f"{mean:.1f}" if inner is None else f"{mean:.1f} ({inner:.1f})"

"""What both pages of segmentation say of cases: which is worst, why, and how it looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from omlab_evaluators.bootstrap import CaseRows, Row
from omlab_evaluators.overlays import picture_path
from omlab_report import Gallery, GalleryItem, Picture, Section, described

GALLERY_CASES = 8
"""Cases shown with pictures, the worst first: each adds up to half a megabyte to the page."""


def gallery(rows: CaseRows, folder: Path, *, what: str, legend: str) -> list[Section]:
    """The pictures of the worst cases; no section where there is none.

    Args:
        rows: Of all cases.
        folder: The report's, with the pictures.
        what: A picture shows, such as "Three planes of case".
        legend: How pictures are read.
    """
    items = []
    for case in worst_first(rows)[:GALLERY_CASES]:
        path = picture_path(folder, case=case)
        if path.is_file():
            alt = f"{what} {case}: the prediction filled, the reference outlined."
            png = path.read_bytes()
            picture = Picture(png, alt=alt, caption=described(png))
            items.append(GalleryItem(case, [picture], text=_case_text(rows[case])))
    if not items:
        return []
    which = "All cases" if len(items) == len(rows) else f"The {len(items)} worst of {len(rows)} cases"
    text = f"{which}, the worst first, where prediction and reference differ most. {legend}"
    return [Section("Overlays", [Gallery(items)], text=text)]


def _case_text(case: Sequence[Row]) -> str:
    mean, weakest = mean_of(case, "dice"), weakest_of(case)
    parts = [] if mean is None or weakest is None else [
        f"Mean Dice {mean:.3f}", f"weakest {weakest['label']} {weakest['dice']:.3f}"
    ]  # fmt: skip
    for status in ("not found", "invented"):
        names = [row["label"] for row in case if row["status"] == status]
        if names:
            parts.append(f"{status}: {', '.join(names)}")
    return "; ".join(parts) + "." if parts else "No class of this case is defined."


def worst_first(rows: CaseRows) -> list[str]:
    """Case ids by mean Dice; those without any figure last."""
    means = {case: mean_of(mine, "dice") for case, mine in rows.items()}
    return sorted(rows, key=lambda case: (means[case] is None, means[case] or 0.0))


def weakest_of(case: Sequence[Row]) -> Row | None:
    """The class of a case with the lowest Dice; None where none is defined."""
    defined = [row for row in case if row["dice"] is not None]
    return min(defined, key=lambda row: float(row["dice"]), default=None)


def mean_of(case: Sequence[Row], key: str) -> float | None:
    """The mean of a figure over the classes of a case; None where it is not defined."""
    values = [float(row[key]) for row in case if row[key] is not None]
    return sum(values) / len(values) if values else None


def all_rows(rows: CaseRows) -> Iterable[Row]:
    """The rows of all cases."""
    return (row for case in rows.values() for row in case)

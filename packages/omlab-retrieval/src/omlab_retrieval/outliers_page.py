"""The page of outliers: the most foreign cases first, how the distances lie, and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from omlab_report import (
    Column,
    Figure,
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
    run_notices,
    run_sections,
    write_page,
)
from omlab_retrieval.cases import Shown, is_drawn
from omlab_retrieval.outlying import PERCENT, Outlying, Scored
from omlab_retrieval.plots import distances_beside_known
from omlab_retrieval.store import Store
from omlab_retrieval.tables import OUTLIERS, Row
from omlab_retrieval.thumbnails import can_draw

PAGE = "report.html"
MOST_PICTURES = 60
MOST_ROWS = 1000
NAMES = {"knn": "Distance to neighbours", "mahalanobis": "Mahalanobis distance"}


def write_outliers_page(
    folder: Path, rows: Sequence[Row], found: Outlying, store: Store, *, cases: Shown, among: bool
) -> None:
    """Write `report.html`.

    Args:
        folder: Of the run.
        rows: Those of `outliers.csv`, the most foreign first.
        found: What they were made of.
        store: The known cases.
        cases: Pictures and files of those that were scored.
        among: These are the known ones themselves.

    Raises `OutputError`.
    """
    scores = {"knn": found.neighbour, "mahalanobis": found.mahalanobis}
    what = "known cases, each beside all others" if among else f"cases beside {len(store.ids):,} known ones"
    run = read_run(folder)
    page = Page(
        "Outliers",
        [
            Section("", [_figures(rows)]),
            *_pictures(rows, cases),
            _distances(scores, found.k, among=among),
            _table(rows),
            Section("How it is scored", [Notes(_notes(scores, found.k, store, among=among))]),
            *run_sections(run),
        ],
        subtitle=f"{len(rows):,} {what}, by embeddings of {store.model['name']}",
        notices=run_notices(run),
    )
    write_page(page, folder / PAGE)


def threshold_sentences(scored: Scored) -> list[str]:
    """What each threshold is, or why there is none."""
    found = []
    for percent in PERCENT:
        threshold = scored.threshold(percent)
        least = -(-percent // (100 - percent))
        found.append(
            f"{percent} %: {threshold:.4g}"
            if threshold is not None
            else f"{percent} %: none, which {least} known cases would allow, not {len(scored.known)}"
        )
    return found


def _figures(rows: Sequence[Row]) -> KeyFigures:
    figures = [KeyFigure("Cases", len(rows))]
    for key, name in NAMES.items():
        counts = {percent: sum(row[f"{key}_above"] >= percent for row in rows) for percent in PERCENT}
        note = ", ".join(f"{count} above {percent} %" for percent, count in counts.items() if percent != PERCENT[-1])
        figures.append(KeyFigure(f"{name} above {PERCENT[-1]} %", counts[PERCENT[-1]], note=note))
    return KeyFigures(figures)


def _pictures(rows: Sequence[Row], cases: Shown) -> list[Section]:
    pictures = [_picture(row, cases) for row in rows[:MOST_PICTURES]]
    if not is_drawn(pictures):
        return []
    text = "By the distance to their neighbours." + (
        f" The first {len(pictures)}; the others are in the table." if len(rows) > len(pictures) else ""
    )
    return [Section("The most foreign first", [Gallery([GalleryItem("", pictures)], small=True)], text=text)]


def _picture(row: Row, cases: Shown) -> Picture:
    above = f", above {row['knn_above']} %" if row["knn_above"] else ""
    return cases.picture(row["case"], f"{row['rank']}. {row['case']}: {row['knn_distance']:.3f}{above}")


def _distances(scores: Mapping[str, Scored], k: int, *, among: bool) -> Section:
    titles = [f"1 - cosine similarity of neighbour {k}", NAMES["mahalanobis"]]
    plot = distances_beside_known(
        {title: scored for title, scored in zip(titles, scores.values(), strict=True) if len(scored.known)}, among=among
    )
    alt = "How the distances of the known cases are spread, with the thresholds and the cases that were scored."
    caption = (
        "Bars count how far known cases are from their neighbours, lines are the thresholds, ticks below are the cases "
        "that were scored: one beyond a threshold is more foreign than that share of the known cases."
    )
    return Section("How the distances lie", [Figure(plot, alt=alt, caption=caption)])


def _table(rows: Sequence[Row]) -> Section:
    columns = [
        Column("Case"),
        Column("Rank", numeric=True),
        Column("Neighbours", numeric=True, digits=4, help="1 - cosine similarity of the k-th neighbour"),
        Column("Known below", numeric=True, digits=1, help="Per cent of the known cases that are less foreign"),
        Column("Mahalanobis", numeric=True, digits=2),
        Column("Known below", numeric=True, digits=1, help="Per cent of the known cases that are less foreign"),
        Column("Nearest known case"),
        Column("File"),
    ]
    cells = [
        [
            row["case"],
            row["rank"],
            row["knn_distance"],
            _percent(row["knn_below"]),
            row["mahalanobis"],
            _percent(row["mahalanobis_below"]),
            f"{row['nearest']} ({row['similarity']:.3f})",
            row["file"],
        ]
        for row in rows[:MOST_ROWS]
    ]
    more = len(rows) - len(cells)
    text = f"The first {len(cells)}; {more} more are in {OUTLIERS}." if more else ""
    return Section("All cases", [Table(columns, cells)], text=text)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _notes(scores: Mapping[str, Scored], k: int, store: Store, *, among: bool) -> list[str]:
    neighbour, mahalanobis = (threshold_sentences(scored) for scored in scores.values())
    count = len(scores["knn"].known)
    of = f"{count:,} of the {len(store.ids):,} known cases" if count < len(store.ids) else f"the {count:,} known cases"
    notes = [
        f"Distance to neighbours: one less the cosine similarity of neighbour {k}. Thresholds: {'; '.join(neighbour)}.",
        "Mahalanobis distance: to one Gaussian of the known cases, its covariance shrunk by Ledoit and Wolf's share. "
        f"Thresholds: {'; '.join(mahalanobis)}.",
        f"Thresholds are made of the distances of {of}, each left out in turn: of cases like these, at most "
        f"{' and '.join(str(100 - percent) for percent in PERCENT)} in a hundred are expected above them.",
        "Two pictures of one patient make each other less foreign, and so the thresholds low.",
    ]
    if among:
        notes.append("As many known cases as a threshold says are above it by its making: look at which, not how many.")
    return notes if can_draw() else [*notes, "Pictures need Pillow: pip install omlab-retrieval[pictures]."]

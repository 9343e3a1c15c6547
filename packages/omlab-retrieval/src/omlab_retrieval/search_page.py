"""The page of a search: each query beside its neighbours, and a table of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omlab_report import (
    Column,
    Gallery,
    GalleryItem,
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
from omlab_retrieval.store import Store
from omlab_retrieval.tables import NEIGHBOURS, Row, grouped
from omlab_retrieval.thumbnails import can_draw

PAGE = "report.html"
MOST_PICTURES = 600
MOST_NEIGHBOURS = 30
"""Pictures on a page, and of the neighbours of one query."""
MOST_ROWS = 1000


def write_search_page(folder: Path, rows: Sequence[Row], store: Store, *, asked: Shown, known: Shown) -> None:
    """Write `report.html`. `rows` are those of `neighbours.csv`. Raises `OutputError`."""
    by_query = grouped(rows, by="query")
    queries = f"{len(by_query)} queries" if len(by_query) > 1 else f"“{next(iter(by_query))}”"
    depth = max(len(found) for found in by_query.values())
    run = read_run(folder)
    page = Page(
        f"Neighbours of {queries}",
        [
            *_pictures(by_query, asked=asked, known=known),
            _table(rows, several=len(by_query) > 1),
            Section("How to read it", [Notes(_notes(store))]),
            *run_sections(run),
        ],
        subtitle=f"The {depth} most alike of {len(store.ids):,} known cases, by embeddings of {store.model['name']}",
        notices=run_notices(run),
    )
    write_page(page, folder / PAGE)


def _pictures(by_query: dict[str, Sequence[Row]], *, asked: Shown, known: Shown) -> list[Section]:
    items: list[GalleryItem] = []
    count = 0
    for query, rows in by_query.items():
        shown = rows[:MOST_NEIGHBOURS]
        count += 1 + len(shown)
        if items and count > MOST_PICTURES:
            break
        pictures = [asked.picture(query, "Query"), *(_neighbour(row, known) for row in shown)]
        if is_drawn(pictures):
            items.append(GalleryItem(query, pictures))
    if not items:
        return []
    left = len(by_query) - len(items)
    text = f"The first {len(items)} queries; {left} more are in {NEIGHBOURS}." if left else ""
    return [Section("Pictures", [Gallery(items, small=True)], text=text)]


def _neighbour(row: Row, known: Shown) -> Picture:
    same = ", the same file" if row["same_file"] else ""
    return known.picture(row["neighbour"], f"{row['rank']}. {row['neighbour']}: {row['similarity']:.3f}{same}")


def _table(rows: Sequence[Row], *, several: bool) -> Section:
    columns = [
        Column("Neighbour"),
        Column("Rank", numeric=True),
        Column("Similarity", numeric=True, digits=4),
        Column("File"),
    ]
    cells = [
        [row["neighbour"], row["rank"], row["similarity"], row["file"] + (" (the same)" if row["same_file"] else "")]
        for row in rows[:MOST_ROWS]
    ]
    if several:
        columns = [Column("Query"), *columns]
        cells = [[row["query"], *cell] for row, cell in zip(rows, cells, strict=False)]
    more = len(rows) - len(cells)
    text = f"The first {len(cells)} rows; {more} more are in {NEIGHBOURS}." if more else ""
    return Section("Neighbours", [Table(columns, cells)], text=text)


def _notes(store: Store) -> list[str]:
    notes = [
        "Similarity is the cosine of two embeddings: 1 for the same direction, 0 for nothing in common.",
        "It tells what the model takes to be alike, which need not be what a reader, or a diagnosis, would.",
        f"All {len(store.ids):,} known cases in {store.place} were compared; none was left out to be quicker.",
    ]
    return notes if can_draw() else [*notes, "Pictures need Pillow: pip install omlab-retrieval[pictures]."]

"""`omlab search` and `omlab outliers` as functions: from files and a store of embeddings to a table and a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omlab.arguments import path_of, paths_of, table_of
from omlab.devices import sort_of
from omlab.digests import digest_of, file_digest
from omlab.errors import InputError, UsageError
from omlab.jobs.outcome import Outcome
from omlab.jobs.sources import Given, chosen_cases
from omlab.models import ModelRef, Needs
from omlab.roles import Case
from omlab.runs import Run
from omlab.settings import decisive
from omlab_retrieval.cases import Shown
from omlab_retrieval.neighbours import NotFiniteError, check_finite, search
from omlab_retrieval.outliers_page import write_outliers_page
from omlab_retrieval.outlying import LEAST, Outlying, outliers
from omlab_retrieval.querying import FILE, Plan, run_queries, run_without_queries
from omlab_retrieval.same_model import find_same_model
from omlab_retrieval.search_page import write_search_page
from omlab_retrieval.store import Store, open_store
from omlab_retrieval.tables import (
    NEIGHBOUR_COLUMNS,
    NEIGHBOURS,
    OUTLIER_COLUMNS,
    OUTLIERS,
    Row,
    rounded,
    write_rows,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Queries:
    """The cases that are compared with known ones: paths, or a split of a data set.

    Attributes:
        paths: Files and folders.
        named: Paths of further inputs, by their names.
        values: Inputs that are given themselves, by their names.
        data: Name of a data set (`NAME` or `NAME:PATH`) in place of paths.
        split: Its split; by default `test`, of own files all.
        root: Where its files are.
        settings: Values for its settings.
        mapped: The verb's names of inputs to the data set's, where they cannot be told.
    """

    paths: Sequence[str | Path] = ()
    named: Mapping[str, str | Path] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    split: str | None = None
    root: str | Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    mapped: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was named."""
        return not (self.paths or self.named or self.values or self.data)


def find_like(
    features: str | Path,
    queries: Queries | str | Path | Sequence[str | Path],
    *,
    k: int = 10,
    output: str | Path | None = None,
    model: str | Path | None = None,
    weights: str | Path | None = None,
    needs: Needs | None = None,
    device: str = "auto",
    batch: int | None = None,
    offline: bool | None = None,
) -> Outcome:
    """The known cases that are most like each query: `neighbours.csv` and a page in the folder of a run.

    Args:
        features: The folder, or file, that `omlab embed` made of the known cases.
        queries: What is compared with them: files and folders, or `Queries`.
        k: How many neighbours are wanted.
        output: The run's folder; by default one in `omlab-runs/`.
        model: The model that made `features`, where it lies elsewhere now.
        weights: The local checkpoint that it was made with.
        needs: Other models that it was made with.
        device: `auto` (as `features` was made, where that is here), `cpu`, `cuda` or `cuda:N`.
        batch: How many queries are embedded at once; by default what the card says.
        offline: True: never fetch weights.

    Raises:
        OmlabError: When nothing could be started, or no query could be embedded.
    """
    if k < 1:
        raise UsageError(f"The number of neighbours is {k}, but must be at least 1.")
    store = _known(features)
    ref = find_same_model(store, model=model, weights=weights, needs=needs, device=device, offline=offline)
    cases, request = _asked(_queries(queries), store, ref, kind="search", k=k)
    plan = _plan("search", store, cases, request, output=output, ref=ref, k=k, most=len(store.ids))

    def conclude(run: Run, ids: tuple[str, ...], vectors: NDArray[np.float32]) -> None:
        found = search(store.vectors, vectors, k=k)
        neighbours = [[store.ids[row] for row in rows] for rows in found.rows]
        asked, known = Shown(run.log, ids), Shown(store.records, [id for row in neighbours for id in row])
        rows = [
            _neighbour_row(query, rank, id, float(similarity), asked=asked, known=known)
            for query, near, similarities in zip(ids, neighbours, found.similarities, strict=True)
            for rank, (id, similarity) in enumerate(zip(near, similarities, strict=True), start=1)
        ]
        write_rows(rows, run.folder / NEIGHBOURS, columns=NEIGHBOUR_COLUMNS)
        write_search_page(run.folder, rows, store, asked=asked, known=known)

    return run_queries(plan, store, ref, cases, batch=batch, conclude=conclude)


def find_outliers(
    features: str | Path,
    queries: Queries | str | Path | Sequence[str | Path] | None = None,
    *,
    k: int = 10,
    output: str | Path | None = None,
    model: str | Path | None = None,
    weights: str | Path | None = None,
    needs: Needs | None = None,
    device: str = "auto",
    batch: int | None = None,
    offline: bool | None = None,
) -> Outcome:
    """How foreign cases are to known ones: `outliers.csv` and a page, the most foreign first, in the folder of a run.

    Args:
        features: The folder, or file, that `omlab embed` made of the known cases; two at least.
        queries: What is scored: files and folders, or `Queries`; None: the known ones, each beside all others.
        k: Which neighbour's distance is taken.
        output: The run's folder; by default one in `omlab-runs/`.
        model: The model that made `features`, where it lies elsewhere now.
        weights: The local checkpoint that it was made with.
        needs: Other models that it was made with.
        device: `auto` (as `features` was made, where that is here), `cpu`, `cuda` or `cuda:N`.
        batch: How many cases are embedded at once; by default what the card says.
        offline: True: never fetch weights.

    Raises:
        OmlabError: When nothing could be started, or no case could be embedded.
    """
    if k < 1:
        raise UsageError(f"The number of neighbours is {k}, but must be at least 1.")
    store = _known(features)
    if len(store.ids) < LEAST:
        raise InputError(f"{store.place} holds one case: what is foreign is told by at least {LEAST} known ones.")
    chosen = _queries(queries)
    if chosen.is_empty:
        request = {**_comparison("outliers", store, k=k), "model": dict(store.model)}
        plan = _plan("outliers", store, (), request, output=output, k=k, most=len(store.ids) - 1)
        return run_without_queries(plan, lambda run: _write_outliers(run, store, store.ids, None, k=k))
    ref = find_same_model(store, model=model, weights=weights, needs=needs, device=device, offline=offline)
    cases, request = _asked(chosen, store, ref, kind="outliers", k=k)
    plan = _plan("outliers", store, cases, request, output=output, ref=ref, k=k, most=len(store.ids) - 1)

    def conclude(run: Run, ids: tuple[str, ...], vectors: NDArray[np.float32]) -> None:
        _write_outliers(run, store, ids, vectors, k=k)

    return run_queries(plan, store, ref, cases, batch=batch, conclude=conclude)


def _known(features: str | Path) -> Store:
    """The known cases. Raises `InputError` where there are none, or one that nothing can be compared with."""
    store = open_store(features)
    try:
        check_finite(store.vectors, what="known")
    except NotFiniteError as error:
        raise InputError(
            f"The embedding of '{store.ids[error.row]}' in {store.file} has entries that are NaN or infinite: "
            "embed that case again."
        ) from None
    return store


def _queries(given: Queries | str | Path | Sequence[str | Path] | None) -> Queries:
    if isinstance(given, Queries):
        return given
    return Queries(paths=[] if given is None else paths_of(given, "A query"))


def _comparison(kind: str, store: Store, *, k: int) -> dict[str, Any]:
    """What of a request is the same with and without queries."""
    return {"command": kind, "verb": store.verb, "k": k, "features": file_digest(store.file)}


def _asked(
    queries: Queries, store: Store, ref: ModelRef, *, kind: str, k: int
) -> tuple[Sequence[Case], dict[str, Any]]:
    """The cases, and the request: read and embedded as the known ones were."""
    request = _comparison(kind, store, k=k)
    request |= {"model": ref.identity(), "device": sort_of(ref.device)}
    request |= {name: store.request[name] for name in ("options", "read") if store.request.get(name)}
    values = {**store.request.get("values", {}), **table_of(queries.values, "Values")}
    named = table_of(queries.named, "Named inputs")
    given = Given(
        paths=paths_of(queries.paths, "A query"),
        named={name: path_of(path, f"The input '{name}'") for name, path in named.items()},
        values={} if queries.data else values,
        read=store.request.get("read", {}),
    )
    source, cases = chosen_cases(
        given,
        ref.card.does[store.verb],
        model=ref.name,
        data=queries.data,
        split=queries.split,
        root=queries.root,
        settings=queries.settings,
        mapped=queries.mapped,
    )
    if values:
        request["values"] = values
    if source is not None:
        request["data"] = {"name": source.card.name, "settings": decisive(source.card.settings, source.settings)}
    return cases, request


def _plan(
    kind: str,
    store: Store,
    cases: Sequence[Case],
    request: Mapping[str, Any],
    *,
    output: str | Path | None,
    k: int,
    most: int,
    ref: ModelRef | None = None,
) -> Plan:
    files = sorted(str(path.absolute()) for case in cases for paths in case.files.values() for path in paths)
    place = Path("omlab-runs") / f"{kind}-{store.model['name']}-{digest_of([request, files])[:8]}"
    notes = []
    if k > most:
        notes.append(f"{store.place} holds {len(store.ids)} cases: {most} neighbours are looked at, not {k}.")
    made = store.request.get("device")
    if ref is not None and made is not None and made != sort_of(ref.device):
        notes.append(
            f"{store.place} was made on {made}, these cases on {ref.device}: distances differ a little by that."
        )
    return Plan(
        final=place if output is None else path_of(output, "The output"),
        kind=kind,
        request=request,
        arguments={
            "features": str(store.place),
            "output": str(output or ""),
            **({} if ref is None else {"model": ref.name, "collected": {"path": FILE, "format": "embeddings"}}),
        },
        notes=notes,
    )


def _neighbour_row(query: str, rank: int, id: str, similarity: float, *, asked: Shown, known: Shown) -> Row:
    return {
        "query": query,
        "rank": rank,
        "neighbour": id,
        "similarity": rounded(similarity),
        "same_file": bool(asked.digests(query) & known.digests(id)),
        "file": known.file(id),
        "query_file": asked.file(query),
    }


def _write_outliers(run: Run, store: Store, ids: Sequence[str], vectors: NDArray[np.float32] | None, *, k: int) -> None:
    """Score cases and write their table and page; without vectors of their own they are the known ones."""
    found = outliers(store.vectors, vectors, k=k)
    cases = Shown(store.records if vectors is None else run.log, ids)
    rows = [
        {"rank": rank, "case": ids[row], **scores, "file": cases.file(ids[row])}
        for rank, (row, scores) in enumerate(_scored(found, store), start=1)
    ]
    write_rows(rows, run.folder / OUTLIERS, columns=OUTLIER_COLUMNS)
    write_outliers_page(run.folder, rows, found, store, cases=cases, among=vectors is None)


def _scored(found: Outlying, store: Store) -> Iterator[tuple[int, dict[str, Any]]]:
    """The row of each case, the most foreign first, and what its table says of it."""
    columns: dict[str, Sequence[float | int]] = {
        "knn_distance": found.neighbour.values.tolist(),
        "knn_below": found.neighbour.below().tolist(),
        "knn_above": found.neighbour.above().tolist(),
        "mahalanobis": found.mahalanobis.values.tolist(),
        "mahalanobis_below": found.mahalanobis.below().tolist(),
        "mahalanobis_above": found.mahalanobis.above().tolist(),
        "similarity": found.similarities[:, 0].tolist(),
    }
    for row in found.order().tolist():
        scores = {name: values[row] for name, values in columns.items()}
        scores = {name: rounded(value) if isinstance(value, float) else value for name, value in scores.items()}
        yield row, {**scores, "nearest": store.ids[found.nearest[row, 0]]}

"""The challenge's ranking, from a table of runs or of figures.

    model,set,shots,exp,run                     a run of 'omlab predict' on the labelled split `test`
    model,set,shots,exp,mAP,accuracy,AUC        or figures in percent: mAP (chest, endo) or accuracy (colon), and AUC

or from boards of `omlab benchmark`, an entry (a model with an adapter) standing for a model, its seeds for exp.

A model's figure is the mean of both figures over the three sets and 1, 5 and 10 shots, each the mean of its runs.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab_medfmc.board import cells_of
from omlab_medfmc.metrics import aggregate, challenge_figures
from omlab_medfmc.results import Results, Scores, data_of
from omlab_medfmc.sets import CHALLENGE, SHOTS, MedfmcSet, set_of

SPLIT = "test"
REQUIRED = ("model", "set", "shots", "exp")
TIED = 1e-9
Figures = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """Figures of one run."""

    model: str
    set: str
    shots: int
    exp: str
    figures: Figures


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A figure over the runs of a model, set and number of shots: mean, standard deviation (0 of one run), count."""

    mean: float | None
    deviation: float | None
    runs: int


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A model among others.

    Attributes:
        model: Its name.
        rank: From 1; models of the same figure share it. None: it has not all of the nine sets and shots.
        figure: The mean of all; None likewise.
        cells: By set, shots and the figure's name.
    """

    model: str
    rank: int | None
    figure: float | None
    cells: Mapping[tuple[str, int, str], Cell]


def read_table(path: Path, *, root: Path | None, published: bool) -> list[Row]:
    """The rows of a table; runs are judged by the challenge's figures.

    Args:
        path: A CSV file; runs in it are relative to its folder.
        root: Where the data lie; None: where the runs had them.
        published: Count classes without cases as the challenge did (`omlab_medfmc.metrics`), in place of leaving
            them out.

    Raises:
        InputError: The table, or a run, cannot be used; names the row.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The table {path} cannot be read: {error}.") from error
    rows = csv.DictReader(lines)
    columns = set(rows.fieldnames or ())
    if not columns >= set(REQUIRED) or not columns & {"run", "AUC"}:
        raise InputError(
            f"{path} has the columns {', '.join(sorted(columns)) or '(none)'}; wanted are model, set, "
            "shots, exp and run, or mAP, accuracy and AUC in place of run."
        )
    found = [_row(row, path, number, root=root, published=published) for number, row in enumerate(rows, start=2)]
    keys = [(row.model, row.set, row.shots, row.exp) for row in found]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise InputError(f"{path} has {twice[0]} on {twice[1]} with {twice[2]} shots, exp {twice[3]} twice.")
    return found


def read_board(folder: Path, *, published: bool) -> list[Row]:
    """The rows of a board. Raises `InputError` where it is none of MedFMC, or damaged."""
    rows = []
    for cell in cells_of(folder):
        ids, labels = cell.labels()
        figures = _figures(cell.scores(ids), labels, cell.one, published=published)
        row = Row(model=cell.entry, set=cell.one.name, shots=cell.shots, exp=f"seed {cell.seed}", figures=figures)
        rows.append(row)
    return rows


def ranking(rows: Sequence[Row]) -> list[Standing]:
    """Models from the best to the last, those without all sets and shots behind."""
    models: dict[str, dict[tuple[str, int, str], list[float | None]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for name, value in row.figures.items():
            models[row.model][row.set, row.shots, name].append(value)
    cells = {model: {key: _cell(values) for key, values in parts.items()} for model, parts in models.items()}
    figures = {model: _figure(parts) for model, parts in cells.items()}
    order = sorted(models, key=lambda model: (-(figures[model] or -math.inf), model))
    return [
        Standing(model=model, rank=_rank(figures[model], figures), figure=figures[model], cells=cells[model])
        for model in order
    ]


def write_standings(standings: Sequence[Standing], path: Path) -> None:
    """A CSV file: a row a model and figure, and one for all (`set` empty)."""
    from omlab.files import replacing

    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        write = csv.writer(stream).writerow
        write(["rank", "model", "set", "shots", "figure", "mean", "deviation", "runs"])
        for one in standings:
            write([one.rank, one.model, "", "", "all", one.figure, "", ""])
            for (name, shots, figure), cell in sorted(one.cells.items()):
                write([one.rank, one.model, name, shots, figure, cell.mean, cell.deviation, cell.runs])


def _row(row: Mapping[str, str | None], path: Path, number: int, *, root: Path | None, published: bool) -> Row:
    where = f"{path}, row {number}"
    cells = {name: (row.get(name) or "").strip() for name in (*REQUIRED, "run", "mAP", "accuracy", "AUC")}
    try:
        one, shots = set_of(cells["set"]), int(cells["shots"])
    except ValueError as error:
        raise InputError(f"{where}: '{cells['shots']}' is no number of shots.") from error
    if cells["run"]:
        figures = _judged(Results(path.parent / cells["run"]), one, root=root, published=published, where=where)
    else:
        names = ("mAP", "AUC") if one.multi_label else ("accuracy", "AUC")
        figures = {name: _percent(cells[name], name, where) for name in names}
    return Row(model=cells["model"], set=one.name, shots=shots, exp=cells["exp"], figures=figures)


def _percent(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise InputError(f"{where}: {name} is '{text}', but must be a number from 0 to 100.")
    return value


def _judged(results: Results, one: MedfmcSet, *, root: Path | None, published: bool, where: str) -> Figures:
    if results.one is not one:
        raise InputError(f"{where}: {results.folder} is of {results.one.name}, not of {one.name}.")
    data = data_of(results, root=root)
    if SPLIT not in data.splits():
        raise InputError(f"{data.root} has no labelled test list of {one.folders[1]}, by which {where} is judged.")
    scores = results.scores([case.id for case in data.cases(SPLIT)])
    return _figures(scores, np.array([entry.labels for entry in data.entries[SPLIT]]), one, published=published)


def _figures(scores: Scores, labels: NDArray[Any], one: MedfmcSet, *, published: bool) -> Figures:
    labels = labels if one.multi_label else labels.argmax(axis=1)
    return challenge_figures(scores, labels, multi_label=one.multi_label, published=published)


def _cell(values: Sequence[float | None]) -> Cell:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return Cell(mean=None, deviation=None, runs=len(values))
    return Cell(mean=float(np.mean(known)), deviation=float(np.std(known)), runs=len(values))


def _figure(cells: Mapping[tuple[str, int, str], Cell]) -> float | None:
    """The mean over all sets and shots; None where one is not there, or a figure not defined."""
    parts: list[Figures] = []
    for name in CHALLENGE:
        for shots in SHOTS:
            found = {figure: cell.mean for (where, of, figure), cell in cells.items() if (where, of) == (name, shots)}
            if len(found) < 2 or None in found.values():
                return None
            parts.append(found)
    return aggregate(parts)


def _rank(figure: float | None, figures: Mapping[str, float | None]) -> int | None:
    if figure is None:
        return None
    return 1 + sum(other is not None and other > figure + TIED for other in figures.values())

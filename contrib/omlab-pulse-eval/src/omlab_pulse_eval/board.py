"""From the figures of all sets to the leaderboard: pooled ratings, ranks, average ranks, what `report.json` holds.

`report.json` (`"schema": "omlab-pulse-eval/1"`), beside `metrics` and `notes` of every report:

    models        by model, best first: online, median, low, high, bradley_terry, win_share, battles, rank. With one
                  set its own figures; with several the ratings over all their battles together, and `rank` by
                  average rank, which is there as `average_rank`. With triage alone: its figures and rank.
    sets          by set. kind "tournament": battles, outcomes, models (as above), win_shares by row and column,
                  first_seat, and where the texts are known longer_answer, seatings_agree, judging.
                  kind "triage": by model hits, predicted, labelled, exact, precision, recall, f1, accuracy,
                  mended_*, coverage, pieces_per_answer, rank.  kind "scores": columns, fractions.
    average_rank  columns, rule, and by rule the average rank of each model; null where there is one column.
    parameters    k, scale, base, initial, rounds, seed, salt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omlab.errors import InputError
from omlab.roles import Metric
from omlab_pulse_eval.battles import Battles, pooled
from omlab_pulse_eval.figures import Row
from omlab_pulse_eval.ranking import RULES, average_ranks, shared_ranks

SCHEMA = "omlab-pulse-eval/1"
POOLED = "all sets"
PARAMETERS = ("k", "scale", "base", "initial", "rounds", "seed", "salt")


@dataclass(frozen=True, kw_only=True)
class Board:
    """All that the page, the tables and `report.json` show. `whole` are the figures over all battles."""

    models: dict[str, Row]
    sets: dict[str, Row]
    whole: Row | None
    average_rank: Row | None
    settings: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def details(self) -> dict[str, Any]:
        """What `report.json` holds beside metrics and notes."""
        return {
            "schema": SCHEMA,
            "models": self.models,
            "sets": self.sets,
            "average_rank": self.average_rank,
            "parameters": {name: self.settings[name] for name in PARAMETERS},
        }

    @property
    def metrics(self) -> list[Metric]:
        """The rating over all battles, the triage F1 and the average rank, by model."""
        found = []
        for model, figures in (self.whole or {"models": {}})["models"].items():
            value = figures["online"] if figures["median"] is None else figures["median"]
            low, high, count = figures["low"], figures["high"], figures["battles"]
            found.append(Metric(name="rating", label=model, value=value, low=low, high=high, n=count))
        for name, row in self.sets.items():
            if row["kind"] == "triage":
                title = "F1" if name == "triage" else f"F1 {name}"
                found += [
                    Metric(name=title, label=model, value=figures["f1"], n=figures["items"])
                    for model, figures in row["models"].items()
                ]
        if self.average_rank is not None:
            ranks = self.average_rank[self.average_rank["rule"]]
            found += [
                Metric(
                    name="average rank",
                    label=model,
                    value=rank,
                    n=len(self.average_rank["columns"]),
                    higher_is_better=False,
                )
                for model, rank in ranks.items()
            ]
        return found


def conclude(
    sets: dict[str, Row],
    *,
    settings: Mapping[str, Any],
    rate: Callable[..., Row],
    battles: Callable[[str], Battles],
) -> Board:
    """Rank the models within each set, over all battles, and on average over the columns."""
    tournaments = [name for name, row in sets.items() if row["kind"] == "tournament"]
    for row in sets.values():
        if row["kind"] == "triage":
            row["models"] = _ranked(row["models"], by="f1")
    whole = None
    if len(tournaments) > 1:
        whole = rate(pooled([battles(name) for name in tournaments]), name=POOLED)
    elif tournaments:
        whole = sets[tournaments[0]]
    notes: list[str] = []
    average = _average(sets, settings=settings, notes=notes)
    models = _models(sets, whole=whole, average=average)
    notes += _notes(sets, whole=whole, settings=settings)
    return Board(models=models, sets=sets, whole=whole, average_rank=average, settings=settings, notes=notes)


def _ranked(models: Mapping[str, Row], *, by: str, lowest_first: bool = False) -> dict[str, Row]:
    scores = np.array([figures[by] for figures in models.values()], dtype=np.float64)
    ranks = shared_ranks(-scores if lowest_first else scores)
    ranked = {
        model: {**figures, "rank": float(rank)} for (model, figures), rank in zip(models.items(), ranks, strict=True)
    }
    return dict(sorted(ranked.items(), key=lambda pair: pair[1]["rank"]))


def _models(sets: Mapping[str, Row], *, whole: Row | None, average: Row | None) -> dict[str, Row]:
    models: dict[str, Row] = {}
    if whole is not None:
        models = {model: dict(figures) for model, figures in whole["models"].items()}
    elif average is None:
        models = dict(next(row["models"] for row in sets.values() if row["kind"] == "triage"))
    if average is None:
        return models
    ranks = average[average["rule"]]
    joined = {model: {**models.get(model, {}), "average_rank": rank} for model, rank in ranks.items()}
    ranked = _ranked(joined, by="average_rank", lowest_first=True)
    # Models that some column lacks have no average rank: they stand last, without a rank.
    return ranked | {model: {**row, "rank": None} for model, row in models.items() if model not in ranked}


def _average(sets: Mapping[str, Row], *, settings: Mapping[str, Any], notes: list[str]) -> Row | None:
    """The average rank over the columns; `notes` gets what was left out."""
    columns, fractions = _columns(sets, settings=settings, notes=notes)
    if len(columns) < 2 and not any(row["kind"] == "scores" for row in sets.values()):
        return None
    everyone = list(dict.fromkeys(model for column in columns.values() for model in column))
    shared = [model for model in everyone if all(model in column for column in columns.values())]
    if len(shared) < 2:
        notes.append("There is no average rank: no two models are in all columns.")
        return None
    if len(shared) < len(everyone):
        gone = ", ".join(model for model in everyone if model not in shared)
        notes.append(f"Models that are not in all columns have no average rank: {gone}.")
    columns = {name: {model: column[model] for model in shared} for name, column in columns.items()}
    order = _row_order(columns, [str(name) for name in settings["row_order"]])
    average: Row = {"columns": list(columns), "rule": settings["ranking"]}
    for rule in RULES:
        average[rule] = average_ranks(columns, rule=rule, fractions=fractions, order=order)
    return average


def _columns(
    sets: Mapping[str, Row], *, settings: Mapping[str, Any], notes: list[str]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    columns: dict[str, dict[str, float]] = {}
    fractions: list[str] = []
    has_triage = any(row["kind"] == "triage" for row in sets.values())
    for name, row in sets.items():
        if row["kind"] == "scores":
            columns |= row["columns"]
            fractions += row["fractions"]
        elif row["kind"] == "triage":
            columns[f"{name} F1"] = {model: figures["f1"] for model, figures in row["models"].items()}
            fractions.append(f"{name} F1")
        elif has_triage and name in map(str, settings["triage_sets"]):
            notes.append(f"The battles of {name} do not count for the average rank: its triage F1 does.")
        else:
            key = "online" if settings["rounds"] == 0 and not settings["indices"] else "median"
            columns[name] = {model: figures[key] for model, figures in row["models"].items()}
    return columns, fractions


def _row_order(columns: Mapping[str, Mapping[str, float]], given: Sequence[str]) -> list[str]:
    first = next(iter(columns.values()))
    unknown = [name for name in given if name not in first]
    if unknown:
        raise InputError(
            f"--row-order names '{unknown[0]}', which is not in all columns; those are: {', '.join(first)}."
        )
    return [*given, *(name for name in sorted(first, key=lambda name: -first[name]) if name not in given)]


def _notes(sets: Mapping[str, Row], *, whole: Row | None, settings: Mapping[str, Any]) -> list[str]:
    notes = []
    if whole is not None:
        outcomes = whole["outcomes"]
        if settings["indices"]:
            how = "the explicit draws of the file given with --indices"
        elif settings["salt"]:
            how = f"{settings['rounds']} rounds drawn from the stream keyed by '{settings['salt']}'"
        else:
            how = f"{settings['rounds']} rounds drawn with seed {settings['seed']}"
        if settings["rounds"] or settings["indices"]:
            notes.append(f"Ratings are medians with 2.5th and 97.5th percentiles of the bootstrap: {how}.")
        else:
            notes.append(
                "There was no bootstrap: models are ranked by their online rating, which depends on the order."
            )
        notes.append(
            f"{outcomes['unparsed']} of {whole['battles']} replies could not be read as two scores; "
            "they count as ties, half a win for each."
        )
        if any(figures["bradley_terry"] is None for figures in whole["models"].values()):
            notes.append(
                "There are no finite Bradley-Terry ratings: some models never won a point against all others, or "
                "never lost one."
            )
    for name, row in sets.items():
        judging = row.get("judging", {})
        if judging.get("other_prompt"):
            notes.append(f"{name}: {judging['other_prompt']} recorded replies were given to another prompt than ours.")
        if judging.get("blank_answers"):
            notes.append(f"{name}: {judging['blank_answers']} answers are blank; draws on them were passed over.")
        if row["kind"] == "triage":
            notes.append(f"{name}: F1 as published; the mended F1 takes distinct departments, the first few only.")
    return notes

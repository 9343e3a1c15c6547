"""How this package answers golden files: ratings of battle logs, schedules, replies of judges, ranks, triage.

A battle log or a table of predictions that a file names is looked for beside the golden files, or is a path; battles
may also stand in the file itself, as rows.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab_pulse_eval.battles import Battles, battles_of, read_battles
from omlab_pulse_eval.parse import outcome_of, scores_of
from omlab_pulse_eval.ranking import Rule, as_printed, average_ranks
from omlab_pulse_eval.ratings import (
    Elo,
    bradley_terry,
    elo_online,
    elo_rounds,
    keyed_draws,
    seeded_draws,
    spread,
    win_shares,
)
from omlab_pulse_eval.schedule import schedule, schedule_digest
from omlab_pulse_eval.triage import read_departments, read_triage, triage_figures
from omlab_testkit.expected import Answer, answer_parts, difference

Case = Mapping[str, Any]
Floats = NDArray[np.float64]

GOLDEN = Path(__file__).resolve().parent / "golden"
SALT = "elo-bootstrap"
ROUNDS = 60_000
"""Where the limit of many rounds is meant and no number is given."""
WORDS = {"reference", "about", "note", "rule", "set", "generator", "digest"}
INPUTS = {"battles", "parameters", "columns", "scores", "predictions", "departments"}
RULES: dict[str, Rule] = {
    "published_table2": "position",
    "fractional_f1_2_decimals": "shared-rounded",
    "fractional": "shared",
}


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file, by its parts."""
    if case and all(isinstance(code, str) for code in case.values()):
        return _departments(case)
    answers: dict[str, Answer] = {
        "count": lambda part, case: difference(len(_battles(case)), part),
        "outcomes": lambda part, case: difference(_battles(case).counts(), part),
        "online": _online,
        "bootstrap_exact": _exact,
        "bootstrap_limit": _limit,
        "average_win_rate_without_ties": lambda part, case: _by_model(win_shares(_battles(case))[1], part, case),
        "bradley_terry": _bradley_terry,
        "published": lambda part, case: _by_model(as_printed(_limit_rounds(case, ROUNDS).median), part, case),
        "cases": lambda part, case: max(_row(row) for row in part),
        "models": _triage,
        **{name: partial(_ranks, rule=rule) for name, rule in RULES.items()},
    }
    return answer_parts(case, answers, about=WORDS | INPUTS)


def tolerance(part: str, case: dict[str, Any]) -> float:
    """How far a part may be: numbers that others drew scatter, the limit of the bootstrap and integers as published."""
    scattered = {"bootstrap_limit": 0.01, "published": 0.05}
    return float(scattered.get(part, case.get("rtol", 2e-6)))


def _found(name: str) -> Path:
    """A file that a case names: a path, or a name beside the golden files."""
    return Path(name) if Path(name).is_file() else GOLDEN / name


def _battles(case: Case) -> Battles:
    battles = case["battles"]
    return read_battles(_found(battles)) if isinstance(battles, str) else battles_of(tuple(row) for row in battles)


def _elo(case: Case) -> Elo:
    names = {"init": "initial"}
    return Elo(**{names.get(name, name): value for name, value in case.get("parameters", {}).items()})


def _by_model(found: Floats | None, part: Mapping[str, float], case: Case) -> float:
    """Figures of all models on one scale: the spread of what is expected."""
    models = _battles(case).models
    if found is None or set(models) != set(part):
        return 1.0
    ours = dict(zip(models, found, strict=True))
    return difference([ours[name] for name in part], list(part.values()))


def _online(part: Mapping[str, float], case: Case) -> float:
    return _by_model(elo_online(_battles(case), elo=_elo(case)), part, case)


def _bradley_terry(part: Mapping[str, float], case: Case) -> float:
    return _by_model(bradley_terry(_battles(case), elo=_elo(case)), part, case)


def _exact(part: Case, case: Case) -> float:
    """Rounds whose draws are keyed by the set's name and the round."""
    battles, rounds = _battles(case), part["rounds"]
    draws = keyed_draws(len(battles), rounds=rounds, salt=SALT, name=case["set"])
    ratings = elo_rounds(battles, draws, rounds=rounds, elo=_elo(case))
    found = {"median": spread(ratings).median, "first_round": ratings[0]}
    return max(_by_model(found[name], part[name], case) for name in _parts(part, found, about={"rounds", "index"}))


def _limit(part: Case, case: Case) -> float:
    """Rating points all of them, on the scale of the medians: also the scatter of a median over 1000 rounds.

    That is the standard error of a median of normal values, sqrt(pi / 2) times that of their mean.
    """
    limit = _limit_rounds(case, part["rounds"])
    found = {
        "median": limit.median,
        "low_2_5": limit.low,
        "high_97_5": limit.high,
        "scatter_1000": np.sqrt(np.pi / 2 / 1000) * (limit.high - limit.low) / 3.92,
    }
    names = _parts(part, found, about={"rounds", "note"})
    models = _battles(case).models
    if any(set(part[name]) != set(models) for name in names):
        return 1.0
    scale = float(np.std([part["median"][model] for model in models])) or 1.0
    return max(float(np.abs(found[name] - [part[name][model] for model in models]).max()) / scale for name in names)


def _limit_rounds(case: Case, rounds: int) -> Any:
    battles = case["battles"]
    return _spread(battles if isinstance(battles, str) else tuple(map(tuple, battles)), _elo(case), rounds)


@lru_cache(maxsize=16)
def _spread(battles: str | tuple[tuple[str, str, str], ...], elo: Elo, rounds: int) -> Any:
    fought = _battles({"battles": battles})
    return spread(elo_rounds(fought, seeded_draws(len(fought), rounds=rounds, seed=0), rounds=rounds, elo=elo))


def _parts(part: Case, found: Mapping[str, Any], *, about: set[str]) -> list[str]:
    """The names of a part that are answered. Raises `KeyError` for one that is neither answered nor about it."""
    unknown = [name for name in part if name not in found and name not in about]
    if unknown:
        raise KeyError(unknown[0])
    return [name for name in part if name in found]


def _row(row: Case) -> float:
    """A row of a list of cases: a judge's reply, a small tournament, or a schedule."""
    if "review" in row:
        scores = scores_of(row["review"])
        found: dict[str, Any] = {
            "scores": None if scores is None else list(scores),
            "winner": outcome_of(row["review"]),
        }
        about = {"review"}
    elif "battles" in row:
        return _tournament(row)
    else:
        found, about = _schedule(row), {"name", "models", "items", "per_pair", "seed", "blank"}
    names = _parts(row, found, about=about)
    return difference({name: found[name] for name in names}, {name: row[name] for name in names})


def _tournament(row: Case) -> float:
    _parts(row, {"ratings": 0}, about={"name", "battles", "parameters"})
    return _online(row["ratings"], row)


def _schedule(row: Case) -> dict[str, Any]:
    battles = schedule(
        row["models"],
        items=row["items"],
        per_pair=row["per_pair"],
        seed=row["seed"],
        blank=[(model, item) for model, item in row.get("blank", [])],
    )
    seats = [[seat.first, seat.second, seat.item] for seat in battles]
    first, last = len(row.get("first", [])), len(row.get("last", []))
    return {
        "count": len(seats),
        "sha256": schedule_digest(battles),
        "first": seats[:first],
        "last": seats[len(seats) - last :],
        "first_model_count": dict(Counter(seat.first for seat in battles)),
    }


def _ranks(part: Case, case: Case, *, rule: Rule) -> float:
    """Columns of fractions say so by ending in F1."""
    columns = {
        name: {model: scores[n] for model, scores in case["scores"].items()} for n, name in enumerate(case["columns"])
    }
    orders = [other["row_order"] for other in case.values() if isinstance(other, dict) and "row_order" in other]
    found = average_ranks(
        columns,
        rule=rule,
        fractions=[name for name in columns if name.endswith("F1")],
        order=part.get("row_order", orders[0] if orders else ()),
    )
    _parts(part, {"average": 0}, about={"rule", "row_order"})
    if found.keys() != part["average"].keys():
        return 1.0
    return difference([found[model] for model in part["average"]], list(part["average"].values()))


def _triage(part: Mapping[str, Case], case: Case) -> float:
    """Each figure on the scale of its spread over the models."""
    departments = read_departments(_found(case.get("departments", "departments.json")))
    items = read_triage(_found(case.get("predictions", "triage-predictions.csv")), departments=departments)
    if not set(part) <= set(items):
        return 1.0
    found = {model: triage_figures(items[model]) for model in part}
    found = {model: figures | {"published": round(figures["f1"], 2)} for model, figures in found.items()}
    names = list(next(iter(part.values())))
    for model, figures in part.items():
        _parts(figures, found[model], about=set())
    return max(
        difference([found[model][name] for model in part], [figures[name] for figures in part.values()])
        for name in names
    )


def _departments(case: Mapping[str, str]) -> dict[str, float]:
    """A table of departments is read as it is, its codes numbering the names in their order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "departments.json"
        path.write_text(json.dumps(case), encoding="utf-8")
        names = read_departments(path).values()
    codes = {name: f"d{number:02d}" for number, name in enumerate(names)}
    return {name: difference(codes[name], code) for name, code in case.items()}

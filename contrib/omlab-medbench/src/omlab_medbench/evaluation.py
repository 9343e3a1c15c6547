"""What `omlab medbench score` does: Chinese medical language models by dimension, task and set, after MedBench.

`report.json` (`"schema": "omlab-medbench/1"`), beside `metrics` and `notes` of every report:

    version      of the sets
    total        compat, strict, low, high: the mean over the dimensions; the interval is that of `strict`
    dimensions   by dimension the same: the mean over its sets, and which sets those are
    sets         by set: dimension, task, form, metric, items, blank, compat (null where the public code gives none),
                 strict, low, high; where there are any: prompts (score by instruction), prompt_spread, sections,
                 circular (items right in every rotation of their options), overlapping (items that a corpus holds) and
                 clean (strict without these), leaked (answers that hold the canary)
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab import FileCase, run_cases
from omlab.cli.setting_options import read_settings
from omlab.errors import InputError, UsageError
from omlab.jobs.concluding import REPORT
from omlab.jobs.outcome import Outcome
from omlab.roles import Metric, Report, Rows
from omlab.settings import complete
from omlab_medbench.metrics import Tally
from omlab_medbench.overlap import overlapping_items
from omlab_medbench.rows import Answer, Key, read_answers
from omlab_medbench.scoring import METRIC, circular_score, compat_tally, section_scores, strict_tally
from omlab_medbench.tasks import Tasks, read_tasks

SCHEMA = "omlab-medbench/1"
Row = dict[str, Any]


def score(settings: Mapping[str, Any], *, output: str | Path | None = None) -> Outcome:
    """Score recorded answers, as one run with a report; each set is a case.

    ```python
    outcome = score({"answers": "answers.jsonl"}, output="board")
    print(outcome.report.details["total"])
    ```

    Args:
        settings: As in `settings.toml`; what is left out has its default.
        output: The run's folder; None: one in `omlab-runs/`.

    Raises:
        OmlabError: The answers cannot be used; says where and why.
    """
    known = read_settings("omlab_medbench")
    chosen = complete(known, settings, of="medbench")
    bench = MedBench(chosen)
    return run_cases(
        [FileCase(id=name, files={"read": paths}) for name, paths in bench.cases().items()],
        lambda case, folder: {"rows": [bench.measure(case.id)]},
        output=output,
        request={"command": "medbench score", "settings": {n: v for n, v in chosen.items() if known[n].affects_result}},
        kind="medbench",
        arguments=chosen,
        report=bench.report,
    )


class MedBench:
    """Scores recorded answers; each set is a case."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)
        if not settings["answers"]:
            raise UsageError("Say where the answers are: --answers FILE.")
        self.paths = [Path(settings[name]) for name in ("answers", "references", "terms", "tasks") if settings[name]]
        self.tasks: Tasks = read_tasks(Path(settings["tasks"]) if settings["tasks"] else None)
        self.overlapping: frozenset[Key] = frozenset()
        if settings["overlap"]:
            self.overlapping = overlapping_items(Path(settings["overlap"]))
            self.paths.append(Path(settings["overlap"]) / REPORT)
        self.terms = _read_terms(Path(settings["terms"])) if settings["terms"] else None
        self._answers: dict[str, list[Answer]] = {}
        self._rotated: dict[str, list[Answer]] = {}

    def cases(self) -> Mapping[str, Sequence[Path]]:
        """The sets that were answered."""
        references = Path(self.settings["references"]) if self.settings["references"] else None
        found = read_answers(Path(self.settings["answers"]), references=references, tasks=self.tasks)
        self._rotated = {name: found[name] for name in self.tasks.sets if name in found}
        self._answers = {name: [a for a in rows if not a.rotation] for name, rows in self._rotated.items()}
        bare = next((name for name, rows in self._answers.items() if not rows), None)
        if bare is not None:
            raise InputError(f"{self.settings['answers']}: no item of {bare} is answered with its options unrotated.")
        return dict.fromkeys(self._answers, self.paths)

    def measure(self, case: str) -> Row:
        """The scores of one set."""
        answers, task = self._answers[case], self.tasks.sets[case]
        compatible = compat_tally(task.form, answers, terms=self.terms)
        tally = strict_tally(task.form, answers, terms=self.terms)
        low, high = _interval(self._rounds(case, tally))
        row: Row = {
            "dimension": task.dimension, "task": task.task, "form": task.form,
            "metric": METRIC.get(task.form, "micro F1"), "items": len(answers),
            "blank": sum(not answer.prediction.strip() for answer in answers),
            "compat": None if compatible is None else compatible.score, "strict": tally.score,
            "low": low, "high": high,
        }  # fmt: skip
        prompts = self._by_prompt(answers, task.form)
        if prompts:
            row["prompts"] = prompts
            row["prompt_spread"] = max(prompts.values()) - min(prompts.values())
        if task.form == "record":
            row["sections"] = section_scores(answers)
        circular = circular_score(self._rotated[case]) if task.form == "letters" else None
        if circular is not None:
            row["circular"] = circular
        clean = [answer for answer in answers if (case, answer.id) not in self.overlapping]
        if len(clean) < len(answers):
            row["overlapping"] = len(answers) - len(clean)
            row["clean"] = strict_tally(task.form, clean, terms=self.terms).score if clean else None
        leaked = sum(answer.leaked for answer in self._rotated[case])
        if leaked:
            row["leaked"] = leaked
        return row

    def report(self, rows: Rows, folder: Path) -> Report:
        """Means by dimension and in total, `report.html` and `scores.csv`."""
        # The page draws figures: its imports would slow down everything else.
        from omlab_medbench.page import write_scores

        sets = {name: dict(row) for name, (row,) in rows.items()}
        rounds = {name: self._rounds(name, self._tally(name)) for name in sets}
        dimensions: dict[str, Row] = {}
        spread: dict[str, NDArray[np.float64]] = {}
        for key in self.tasks.dimensions:
            members = [name for name, row in sets.items() if row["dimension"] == key]
            if members:
                spread[key] = np.mean([rounds[name] for name in members], axis=0)
                dimensions[key] = {**_mean([sets[name] for name in members], spread[key]), "sets": members}
        total = _mean(list(dimensions.values()), np.mean(list(spread.values()), axis=0))
        details = {
            "schema": SCHEMA, "version": self.tasks.version, "total": total, "dimensions": dimensions, "sets": sets,
        }  # fmt: skip
        notes = self._notes(sets, dimensions)
        metrics = _metrics(sets, total, dimensions=len(dimensions))
        write_scores(details, notes=notes, titles=self.tasks.dimensions, folder=folder)
        return Report(metrics=metrics, notes=notes, details=details)

    def _tally(self, name: str) -> Tally:
        return strict_tally(self.tasks.sets[name].form, self._answers[name], terms=self.terms)

    def _rounds(self, name: str, tally: Tally) -> NDArray[np.float64]:
        """Scores of resampled items. Each set has draws of its own, whatever other sets there are."""
        count, rounds = len(tally.parts), self.settings["rounds"]
        generator = np.random.default_rng([self.settings["seed"], zlib.crc32(name.encode())])
        # Some 10 MB of draws at a time: sets have thousands of items.
        step = max(1, 1_000_000 // count)
        parts = [
            tally.rounds(
                generator.multinomial(count, np.full(count, 1 / count), size=min(step, rounds - n)).astype(float)
            )
            for n in range(0, rounds, step)
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    def _by_prompt(self, answers: Sequence[Answer], form: str) -> dict[str, float]:
        names = sorted({answer.prompt for answer in answers if answer.prompt})
        groups = {name: [answer for answer in answers if answer.prompt == name] for name in names}
        return {name: strict_tally(form, group, terms=self.terms).score for name, group in groups.items()}

    def _notes(self, sets: Mapping[str, Row], dimensions: Mapping[str, Row]) -> list[str]:
        notes = [
            "compat counts as the public evaluation code does, quirks included; strict mends it and has intervals.",
            "A dimension is the mean of its sets, the total the mean of its dimensions.",
        ]
        if self.settings["rounds"]:
            notes.append(
                f"Intervals are the 2.5th and 97.5th percentiles of {self.settings['rounds']} bootstrap rounds over "
                f"items, seed {self.settings['seed']}."
            )
        absent = [name for name in self.tasks.sets if name not in sets]
        if absent:
            notes.append(f"Sets without answers, in no mean: {', '.join(absent)}.")
        if len(dimensions) < len(self.tasks.dimensions):
            gone = ", ".join(t for key, t in self.tasks.dimensions.items() if key not in dimensions)
            notes.append(f"The total is over {len(dimensions)} dimensions; there are no answers to: {gone}.")
        for name, row in sets.items():
            if "leaked" in row:
                notes.append(f"{name}: {row['leaked']} answers hold the draw's canary: the model has seen its items.")
            if row["compat"] is None:
                notes.append(f"{name} has no compatible score: the public code stops with an error on it.")
            if row["form"] == "terms" and self.terms is None:
                notes.append(f"{name}: without --terms every term of an answer counts as a standard term.")
        return notes


def _metrics(sets: Mapping[str, Row], total: Row, *, dimensions: int) -> list[Metric]:
    """Both scores of every set, and the total (label None)."""
    found = []
    for name, row, count in [*((name, row, row["items"]) for name, row in sets.items()), (None, total, dimensions)]:
        strict = Metric(name="strict", label=name, value=row["strict"], low=row["low"], high=row["high"], n=count)
        found += [strict, Metric(name="compat", label=name, value=row["compat"], n=count)]
    return found


def _mean(rows: Sequence[Row], rounds: NDArray[np.float64]) -> Row:
    known = [row["compat"] for row in rows if row["compat"] is not None]
    low, high = _interval(rounds)
    return {
        "compat": sum(known) / len(known) if known else None,
        "strict": sum(row["strict"] for row in rows) / len(rows),
        "low": low,
        "high": high,
    }


def _interval(rounds: NDArray[np.float64]) -> tuple[float | None, float | None]:
    if not rounds.size:
        return None, None
    low, high = np.percentile(rounds, [2.5, 97.5])
    return float(low), float(high)


def _read_terms(path: Path) -> frozenset[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text.") from None
    terms = frozenset(line.strip() for line in lines if line.strip())
    if not terms:
        raise InputError(f"{path} holds no terms.")
    return terms

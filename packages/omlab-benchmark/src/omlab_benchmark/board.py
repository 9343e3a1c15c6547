"""`omlab benchmark`: models x adapters x shots x seeds on one data set, as one run with a leaderboard.

`report.json` (`"schema": "omlab-benchmark/1"`), beside `metrics` and `notes` of every report:

    metric       the headline figure, and whether higher is better
    standings    by shots, model and adapter: rank, is_best, every figure with its interval, the headline of each seed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from omlab import FileCase, run_cases
from omlab.abilities import Resamples
from omlab.arguments import path_of, table_of
from omlab.datasets import open_dataset
from omlab.digests import digest_of
from omlab.errors import UsageError
from omlab.jobs.evaluate import choose_evaluator
from omlab.jobs.outcome import Outcome
from omlab.models import untrained_notes
from omlab.registry import load_entry
from omlab.roles import Evaluator, Report, Rows
from omlab.runs import Run
from omlab.settings import by_home, complete, decisive
from omlab.shards import this_shard
from omlab.suggest import did_you_mean
from omlab_benchmark.cells import Bench, Row
from omlab_benchmark.entries import Cell, Entry, find_entries, shots_name
from omlab_benchmark.standing import Scores, standings

TRAIN = "train"


def benchmark(
    models: Sequence[str],
    data: str,
    *,
    adapters: Sequence[str],
    shots: Sequence[int] = (1, 5, 10),
    seeds: int = 5,
    recipe: str | None = None,
    split: str = "test",
    evaluator: str | None = None,
    metric: str | None = None,
    output: str | Path | None = None,
    root: str | Path | None = None,
    device: str = "auto",
    rounds: int = 1000,
    settings: Mapping[str, Any] | None = None,
    mapped: Mapping[str, str] | None = None,
    offline: bool | None = None,
) -> Outcome:
    """Compare models and adapters that learn from a few cases of each class.

    Every entry learns from the same cases: an episode depends on the seed and the data alone. A model's features are
    computed once for all adapters that read them.

    ```python
    outcome = benchmark(["timm", "retfound-tiny"], "imagefolder:fundus", adapters=["linear-probe"], output="board")
    print(outcome.report.details["standings"][0])
    ```

    Args:
        models: Names of models, or folders of adapted ones.
        data: Name of a data set, or `NAME:PATH` for own files.
        adapters: Names of adapters.
        shots: Cases of each class that are learned from; 0: the whole training split.
        seeds: How often episodes are drawn: by the seeds 0, 1, ...
        recipe: What adapters that train do; None: a model's only recipe for such targets.
        split: What is answered and measured.
        evaluator: Name of an evaluator; by default the one for the data set's task.
        metric: What the ranks go by; by default the evaluator's headline.
        output: The board's folder; None: one in `omlab-runs/`.
        root: Where the data set's files are.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        rounds: How often patients and seeds are drawn for the intervals.
        settings: Values by name, looked for in adapters and recipes; `ADAPTER.X`, `recipe.X`, `evaluator.X`, `model.X`
            and `data.X` go there.
        mapped: The models' names of inputs to the data set's, where they cannot be told.
        offline: True: never fetch weights.

    Raises:
        OmlabError: When it cannot be started, or no cell could be done.
    """
    _check(shots, seeds=seeds, rounds=rounds)
    given = dict(table_of(settings, "The settings"))
    for_judge = {name.partition(".")[2]: given.pop(name) for name in [*given] if name.startswith("evaluator.")}
    for_data = by_home({k: v for k, v in given.items() if k.startswith("data.")}, {"data": None}, plain=())["data"]
    source = open_dataset(data, root=root, settings=for_data)
    for name in (TRAIN, split):
        source.check_split(name)
    if split == TRAIN:
        raise UsageError(f"Episodes are drawn from the split '{TRAIN}': measure on another one.")
    source.dataset.prepare()
    offer, card = choose_evaluator(evaluator, source, split)
    chosen = complete(card.settings, for_judge, of=f"the evaluator '{card.name}'")
    judge = cast(Evaluator, load_entry(offer, card.entry)(card, settings=chosen))
    if not isinstance(judge, Resamples):
        raise UsageError(f"The evaluator '{card.name}' cannot say how certain a difference is: name another one.")
    target = source.dataset.about(TRAIN).target
    entries, _ = find_entries(
        models, adapters, recipe=recipe, target=target, device=device, settings=given, offline=offline
    )
    bench = Bench(
        source=source, data_name=data, data_settings=for_data, split=split, judge=judge, judge_card=card,
        mapped=table_of(mapped, "The names of inputs"), device=device, offline=offline,
    )  # fmt: skip
    works = _works(entries, shots=shots, seeds=seeds)

    untrained = dict.fromkeys(note for entry in entries for note in untrained_notes(entry.ref))

    def prepare(run: Run) -> None:
        for note in untrained:
            run.note(note)
        bench.folder, bench.scratch = run.folder, run.scratch / f"part-{this_shard().index}"

    def do(case: FileCase, folder: Path) -> Mapping[str, Any]:
        cells = works[case.id]
        entry = cells[0].entry
        return {"rows": bench.at_once(entry, cells, folder) if entry.is_at_once else bench.one(cells[0], folder)}

    request = {
        "command": "benchmark",
        "data": [source.identity(name) for name in (TRAIN, split)],
        "mapped": dict(bench.mapped),
        "evaluator": {"name": card.name, "settings": decisive(card.settings, chosen)},
        "metric": metric or judge.headline,
        "rounds": rounds,
    }
    arguments = {"data": data, "models": list(models), "adapters": list(adapters), "shots": list(shots), "seeds": seeds}
    outcome = run_cases(
        [FileCase(id=id) for id in works],
        do,
        output=path_of(output, "The output") if output is not None else None,
        request=request,
        kind="benchmark",
        arguments=arguments,
        report=lambda rows, folder: _report(
            rows,
            folder,
            judge=judge,
            metric=metric,
            rounds=rounds,
            subtitle=f"{data}, split {split}",
            notices=[*untrained],
        ),
        prepare=prepare,
    )
    return replace(outcome, notes=[*outcome.notes, *untrained])


def _check(shots: Sequence[int], *, seeds: int, rounds: int) -> None:
    if not shots or min(shots) < 0 or len(set(shots)) < len(shots):
        raise UsageError(f"--shots is different numbers from 1 (0: all cases), not {', '.join(map(str, shots))}.")
    for name, value in (("seeds", seeds), ("rounds", rounds)):
        if value < 1:
            raise UsageError(f"--{name} is at least 1, not {value}.")


def _works(entries: Sequence[Entry], *, shots: Sequence[int], seeds: int) -> dict[str, list[Cell]]:
    """The cells by the case of the run that does them: all of an entry together where its adapter can, else each."""
    works: dict[str, list[Cell]] = {}
    for entry in entries:
        cells = [Cell(entry=entry, shots=number, seed=seed) for number in shots for seed in range(seeds)]
        if entry.is_at_once:
            asked = digest_of([list(shots), seeds])[:8]
            works[f"{entry.slug}-{asked}"] = cells
        else:
            works |= {f"{entry.slug}-{shots_name(cell.shots)}-seed-{cell.seed}": [cell] for cell in cells}
    return works


def _report(
    rows: Rows,
    folder: Path,
    *,
    judge: Resamples,
    metric: str | None,
    rounds: int,
    subtitle: str,
    notices: Sequence[str],
) -> Report:
    from omlab_benchmark.page import write_board  # its imports draw figures

    done = [cast(Row, row) for mine in rows.values() for row in mine]
    scores = Scores.of(done, folder, judge=judge, rounds=rounds)
    headline = metric or judge.headline
    names = [measure.name for measure in scores.measures]
    if headline not in names:
        raise UsageError(f"There is no metric '{headline}': {did_you_mean(headline, names, none='there is none.')}")
    found = standings(scores, headline=headline)
    notes = write_board(found, scores, done, headline=headline, folder=folder, subtitle=subtitle, notices=notices)
    return Report(
        metrics=[standing.metric(scores.measure(headline)) for standing in found],
        notes=notes,
        details={
            "schema": "omlab-benchmark/1",
            "metric": {"name": headline, "higher_is_better": scores.measure(headline).higher_is_better},
            "standings": [standing.to_json() for standing in found],
        },
    )

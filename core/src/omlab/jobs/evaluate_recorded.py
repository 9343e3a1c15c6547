"""Evaluate recorded answers: files that the evaluator's settings name -> report; no model, no data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import EvaluatorCard, validate
from omlab.digests import digest_of, paths_digest
from omlab.errors import InputError, OmlabError, UsageError
from omlab.files import writing
from omlab.jobs.evaluate import complete_with_report, write_report
from omlab.jobs.outcome import Outcome
from omlab.jobs.running import finish, observed
from omlab.progress import task
from omlab.registry import load_entry, registry
from omlab.roles import RecordedEvaluator, Report
from omlab.runs import Run, open_run
from omlab.settings import complete


def evaluate_recorded(
    evaluator: str,
    *,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
) -> Outcome:
    """Judge recorded answers with an evaluator whose card says `source = "recorded"`.

    Args:
        evaluator: Name of the evaluator.
        settings: Values for its settings; they name the files.
        output: Folder for the report; by default a folder in `omlab-runs/`.

    Raises:
        OmlabError: When it cannot be started or no case could be judged.
    """
    offer = registry().get("evaluator", evaluator)
    card = cast(EvaluatorCard, validate(offer))
    if card.source != "recorded":
        raise UsageError(f"'{evaluator}' judges a model's predictions on a data set: name both of them.")
    chosen = complete(card, settings or {})
    judge = cast(RecordedEvaluator, load_entry(offer, card.entry)(card, settings=chosen))
    files = {id: list(paths) for id, paths in judge.cases().items()}
    if not files:
        raise UsageError(f"'{evaluator}' was given nothing to judge.")
    kept = {name: value for name, value in chosen.items() if card.settings[name].affects_result}
    request = {"command": "evaluate", "evaluator": {"name": evaluator, "settings": kept}}
    digests = {id: _digest(paths) for id, paths in files.items()}
    final = (
        Path(output) if output is not None else Path("omlab-runs") / f"evaluate-{evaluator}-{digest_of(request)[:8]}"
    )
    arguments = {"evaluator": evaluator, "settings": chosen, "output": str(output or "")}
    run = open_run(final, kind="evaluate", request=request, arguments=arguments, digests=digests)
    if run is None:
        return complete_with_report(final)
    with observed(run):
        for gone in set(run.cases) - set(digests):
            del run.cases[gone]
        _measure(run, judge, files, digests)
        report = _report(run, judge)
        finish(run)
    return Outcome(place=run.final, cases=run.cases, report=report)


def _digest(paths: list[Path]) -> str:
    try:
        return paths_digest(paths)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from None


def _measure(run: Run, judge: RecordedEvaluator, files: Mapping[str, list[Path]], digests: Mapping[str, str]) -> None:
    with task("cases", total=len(files)) as advance:
        for id, paths in files.items():

            def work(folder: Path, id: str = id) -> Mapping[str, Any]:
                return {"rows": [dict(row) for row in judge.measure(id, folder=folder, scratch=run.scratch)]}

            if not run.is_done(id, digests[id]):
                run.attempt(id, digest=digests[id], inputs=paths, work=work)
            advance(1)


def _report(run: Run, judge: RecordedEvaluator) -> Report:
    rows = {id: case.values["rows"] for id, case in run.cases.items() if case.status == "done"}
    if not rows:
        reason = next(case.reason for case in run.cases.values())
        raise OmlabError(reason if len(run.cases) == 1 else f"No case could be judged: {reason}")
    run.save()
    with writing("The report", run.folder):
        report = judge.report(rows, folder=run.folder)
        write_report(report, run.folder)
    return report

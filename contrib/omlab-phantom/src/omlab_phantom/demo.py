"""`omlab demo`: the whole way from data to report, through the same jobs as every command.

The command makes the phantom data set, fine-tunes a small STU-Net on its training cases, predicts the
unseen ones from their files, and evaluates the predictions. Each step is a run of its own and prints
the command that would do the same; started again, only what is missing is done.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

MODEL = "stunet-tiny.untrained"
DATA = "abdomen-phantom"
TRAINING = {
    "epochs": 10,
    "steps_per_epoch": 30,
    "batch_size": 1,
    "patch_size": [32, 64, 64],
    "learning_rate": 0.04,
    "augment": False,
}
"""Minutes on two cores: small windows, no augmentation, and a rate for a network that starts untrained."""


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for data, model, predictions, report.")] = Path(
        "omlab-demo"
    ),
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Make data, fine-tune a small model, predict unseen cases, evaluate: in minutes, on a CPU."""
    from omlab.cli.jobs import show_outcome, show_report

    from omlab.api import adapt, evaluate, load_dataset, predict
    from omlab.cli.console import working

    start = time.perf_counter()
    root = output / "data"
    with working():
        _say("1/4 data", f"a data set of CT phantoms in {root}")
        data = load_dataset(DATA, root=root)
        data.prepare()
        settings = " ".join(f"-s {name}={_as_text(value)}" for name, value in TRAINING.items())
        _say("2/4 adapt", f"omlab adapt {MODEL} --data {DATA} --root {root} -o {output / 'model'} {settings}")
        adapt(MODEL, DATA, root=root, output=output / "model", settings=TRAINING, device=device)
        scans = [data.files(case)[0] for case in data.ids("test")]
        _say("3/4 predict", f"omlab predict {output / 'model'} {' '.join(map(str, scans))} -o {output / 'predictions'}")
        predicted = predict(output / "model", scans, output=output / "predictions", device=device)
        _say(
            "4/4 evaluate",
            f"omlab evaluate --predictions {output / 'predictions'} --data {DATA} --root {root} -o {output / 'report'}",
        )
        outcome = evaluate(None, DATA, root=root, predictions=output / "predictions", output=output / "report")
    if outcome.report is not None:
        show_report(outcome.report)
    for result, verb in ((predicted, "predicted"), (outcome, "evaluated")):
        if result.failed:
            show_outcome(result, verb)
    _say(f"done in {time.perf_counter() - start:.0f} s", f"open {output / 'report' / 'report.html'}")
    if predicted.failed or outcome.failed:
        raise typer.Exit(1)


def _as_text(value: object) -> str:
    """A setting as the command line takes it."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def _say(step: str, what: str) -> None:
    from rich.markup import escape

    from omlab.cli.console import stderr_console

    stderr_console().print(f"[bold]{step}[/]  {escape(what)}", soft_wrap=True)

"""`omlab demo`: the whole way from data to report, through the same jobs as every command.

The command makes the phantom data set, fine-tunes a small STU-Net on its training cases, predicts the
unseen ones from their files, and evaluates the predictions. Each step is a run of its own and prints
the command that would do the same; started again, only what is missing is done.
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from omlab.cli import options

MODEL = "stunet-tiny.untrained"
DATA = "abdomen-phantom"
RECIPE = "segmentation"
TRAINING = {
    "epochs": 10,
    "steps_per_epoch": 30,
    "windows": 1,
    "patch_size": [32, 64, 64],
    "learning_rate": 0.04,
    "augment": False,
}
"""Minutes on two cores: small windows, no augmentation, and a rate for a network that starts untrained."""


@click.command()
@click.option(
    "--output",
    "-o",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    default=Path("omlab-demo"),
    show_default=True,
    help="Folder for data, model, predictions, report.",
)
@options.device
def demo(output: Path, device: str) -> None:
    """Make data, fine-tune a small model, predict unseen cases, evaluate: in minutes, on a CPU."""
    from omlab.api import adapt, evaluate, load_dataset, predict
    from omlab.cli.console import working
    from omlab.cli.results import show_outcome, show_report
    from omlab_phantom.dataset import INPUT

    start = time.perf_counter()
    root, model, predictions, report = (output / name for name in ("data", "abdomen-model", "predictions", "report"))
    with working():
        _say("1/4 data", f"omlab datasets prepare {DATA} --root {root}")
        data = load_dataset(DATA, root=root)
        data.prepare()
        settings = " ".join(f"-s {name}={_as_text(value)}" for name, value in TRAINING.items())
        where = f"--data {DATA} --root {root}"
        _say("2/4 adapt", f"omlab adapt {MODEL} {where} --recipe {RECIPE} -o {model} {settings}")
        adapt(MODEL, DATA, root=root, recipe=RECIPE, output=model, settings=TRAINING, device=device)
        scans = [case.files[INPUT][0] for case in data.cases("test")]
        _say("3/4 predict", f"omlab predict {model} {' '.join(map(str, scans))} -o {predictions}")
        predicted = predict(model, scans, output=predictions, device=device)
        _say("4/4 evaluate", f"omlab evaluate --predictions {predictions} {where} -o {report}")
        outcome = evaluate(None, DATA, root=root, predictions=predictions, output=report)
    if outcome.report is not None:
        show_report(outcome.report)
    for result in (predicted, outcome):
        if result.failed:
            show_outcome(result)
    _say(f"done in {time.perf_counter() - start:.0f} s", f"open {report / 'report.html'}")
    if predicted.failed or outcome.failed:
        raise click.exceptions.Exit(1)


def _as_text(value: object) -> str:
    """A setting as the command line takes it."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def _say(step: str, what: str) -> None:
    from rich.markup import escape

    from omlab.cli.console import stderr_console

    stderr_console().print(f"[bold]{step}[/]  {escape(what)}", soft_wrap=True)

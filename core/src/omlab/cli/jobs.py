"""The commands predict, adapt and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omlab.cli.console import stderr_console, stdout_console, working
from omlab.settings import parse_pairs

if TYPE_CHECKING:
    from omlab.jobs.outcome import Outcome
    from omlab.roles import Metric, Report

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="PATH", help="Where the results go (default: a folder in omlab-runs/)."),
]
WeightsFile = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="A local checkpoint instead of published weights.")
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never fetch weights; use the cache or --weights.")]
Root = Annotated[Path | None, typer.Option("--root", metavar="FOLDER", help="Folder of the data set's files.")]
ModelSettings = Annotated[
    list[str] | None,
    typer.Option("--model-set", metavar="NAME=VALUE", help="A setting of the model, name=value; repeatable."),
]
DataSettings = Annotated[
    list[str] | None,
    typer.Option("--data-set", metavar="NAME=VALUE", help="A setting of the data set, name=value; repeatable."),
]


def predict(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name (architecture.weights) or folder of an adapted model.")
    ],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT", help="Files, folders of files, DICOM series folders.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="A file for one input, or a folder (default: in omlab-runs/)."
        ),
    ] = None,
    weights: WeightsFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="NAME=VALUE", help="A setting of the model, name=value; repeatable."),
    ] = None,
    device: Device = "auto",
    offline: Offline = False,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--points",
            "--prompts",
            metavar="FILE",
            help="What to predict: points, boxes, masks or text; JSON, or a markups file of 3D Slicer.",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="A reference to simulate clicks against.")
    ] = None,
    clicks: Annotated[
        int | None, typer.Option("--clicks", metavar="N", help="Simulated clicks for each object of --labels.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Seed of the simulated clicks (default: 0).")
    ] = None,
    overlay: Annotated[
        str | None,
        typer.Option(
            "--overlay", metavar="PATH", help="Also draw the prediction over its input: a PNG, or a folder of them."
        ),
    ] = None,
    read_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--read-set",
            metavar="NAME=VALUE",
            help="A setting of the inputs' format, such as series=3 of DICOM; repeatable.",
        ),
    ] = None,
) -> None:
    """Run a model on files: scans, slides, clips, sequences, texts."""
    from omlab.cli.simulated import check_options, show_clicks
    from omlab.jobs.predict import predict as run
    from omlab.jobs.simulate import simulate

    chosen = parse_pairs(settings or [])
    check_options(inputs, labels=labels, clicks=clicks, seed=seed, prompts=prompts)
    how: dict[str, Any] = {
        "output": output,
        "overlay": overlay,
        "weights": weights,
        "device": device,
        "settings": chosen,
        "offline": offline or None,
        "read_settings": parse_pairs(read_settings or []),
    }
    with working():
        if labels is not None and clicks is not None:
            outcome = simulate(model, inputs[0], labels=labels, clicks=clicks, seed=seed or 0, **how)
        else:
            outcome = run(model, inputs, prompts=prompts, **how)
    if labels is not None:
        show_clicks(outcome)
    _conclude(outcome, "predicted")


def adapt(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name (architecture.weights) or folder of an adapted model.")
    ],
    data: Annotated[str, typer.Option("--data", metavar="NAME", help="Name of the data set.")],
    adapter: Annotated[str, typer.Option("--adapter", metavar="NAME", help="Name of the adapter.")] = "finetune",
    output: Output = None,
    root: Root = None,
    weights: WeightsFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="NAME=VALUE", help="A setting of the adapter, name=value; repeatable."),
    ] = None,
    model_settings: ModelSettings = None,
    data_settings: DataSettings = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of everything random.")] = 0,
    offline: Offline = False,
) -> None:
    """Adapt a model to a data set; the result is a folder that stands where a model's name does."""
    from omlab.jobs.adapt import adapt as run

    chosen, for_data, for_model = (parse_pairs(pairs or []) for pairs in (settings, data_settings, model_settings))
    with working():
        outcome = run(
            model,
            data,
            adapter=adapter,
            output=output,
            root=root,
            weights=weights,
            device=device,
            seed=seed,
            settings=chosen,
            data_settings=for_data,
            model_settings=for_model,
            offline=offline or None,
        )
    _conclude(outcome, "adapted")


def evaluate(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            help="Name or folder of a model (leave out with --predictions), or name of an evaluator of recorded "
            "answers, whose settings are then options: --answers FOLDER."
        ),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="NAME", help="Name of the data set.")] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", metavar="FOLDER", help="Folder of a run of 'omlab predict'.")
    ] = None,
    evaluator: Annotated[
        str, typer.Option("--evaluator", metavar="NAME", help="Name of the evaluator.")
    ] = "segmentation",
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Split of the data set.")] = "test",
    output: Output = None,
    root: Root = None,
    weights: WeightsFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="NAME=VALUE", help="A setting of the evaluator, name=value; repeatable."),
    ] = None,
    model_settings: ModelSettings = None,
    data_settings: DataSettings = None,
    device: Device = "auto",
    offline: Offline = False,
) -> None:
    """Judge a model, predictions made before, or recorded answers; leaves a report page."""
    from omlab.cli.recorded import evaluate_recorded, is_recorded, refuse_options
    from omlab.jobs.evaluate import evaluate as run

    if model is not None and is_recorded(model):
        outcome = evaluate_recorded(context, model, pairs=settings or [], output=output)
        _show_evaluation(outcome)
        return
    refuse_options(context, model, has_data=data is not None)
    assert data is not None
    chosen, for_data, for_model = (parse_pairs(pairs or []) for pairs in (settings, data_settings, model_settings))
    with working():
        outcome = run(
            model,
            data,
            predictions=predictions,
            evaluator=evaluator,
            split=split,
            output=output,
            root=root,
            weights=weights,
            device=device,
            settings=chosen,
            data_settings=for_data,
            model_settings=for_model,
            offline=offline or None,
        )
    _show_evaluation(outcome)


def _show_evaluation(outcome: Outcome) -> None:
    if outcome.report is not None:
        show_report(outcome.report)
    _conclude(outcome, "evaluated")


def _conclude(outcome: Outcome, verb: str) -> None:
    show_outcome(outcome, verb)
    if outcome.exit_status:
        raise typer.Exit(outcome.exit_status)


def show_outcome(outcome: Outcome, verb: str) -> None:
    """Say what became of each case, and where the results are."""
    from rich.markup import escape

    console = stderr_console()
    for case in outcome.cases.values():
        for warning in case.warnings:
            about = "" if case.id in warning else f"{case.id}: "
            console.print(f"[yellow]{escape(about + warning)}[/]", soft_wrap=True)
        if case.status == "failed":
            console.print(f"[red]{escape(case.id)} failed: {escape(case.reason)}[/]", soft_wrap=True)
    done = len(outcome.cases) - len(outcome.failed)
    if outcome.was_complete:
        console.print("Nothing to do: this run is complete already.")
    elif len(outcome.cases) > 1:
        console.print(f"{done} of {len(outcome.cases)} cases {verb}.")
    for picture in outcome.pictures:
        console.print(f"Picture: {escape(str(picture))}", soft_wrap=True)
    if done:
        stdout_console().print(escape(str(outcome.place)), soft_wrap=True)


def show_report(report: Report) -> None:
    """The metrics of a report as a table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    names = list(dict.fromkeys(metric.name for metric in report.metrics))
    labels = list(dict.fromkeys(metric.label for metric in report.metrics))
    # On a narrow screen it is the figures that give way: a row without its name says nothing.
    table.add_column("", no_wrap=True, min_width=min(30, max((len(label or "mean") for label in labels), default=0)))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for label in labels:
        row = {m.name: m for m in report.metrics if m.label == label}
        table.add_row(label or "mean", *(_figure(row[name]) if name in row else "" for name in names))
    stdout_console().print(table)


def _figure(metric: Metric) -> str:
    if metric.value is None:
        return "undefined"
    digits = 1 if metric.unit or abs(metric.value) >= 100 else 3
    text = f"{metric.value:.{digits}f}"
    if metric.low is not None and metric.high is not None:
        text += f" [{metric.low:.{digits}f}, {metric.high:.{digits}f}]"
    return f"{text} {metric.unit}".rstrip()

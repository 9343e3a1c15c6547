"""Hooks of the toy plugin."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2
EVENTS = []


@hookimpl
def omlab_models() -> list[Card]:
    return read_cards(__package__, "model")


@hookimpl
def omlab_payloads() -> list[Card]:
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    return read_cards(__package__, "format")


@hookimpl
def omlab_datasets() -> list[Card]:
    return read_cards(__package__, "dataset")


@hookimpl
def omlab_adapters() -> list[Card]:
    return read_cards(__package__, "adapter")


@hookimpl
def omlab_evaluators() -> list[Card]:
    return read_cards(__package__, "evaluator")


@hookimpl
def omlab_run_started(run) -> None:
    EVENTS.append(("started", run.kind, run.folder.name))


@hookimpl
def omlab_run_finished(run) -> None:
    EVENTS.append(("finished", run.kind, run.folder.name))


@hookimpl
def omlab_commands(cli) -> None:
    cli.add_lazy("toy", "omlab_toy.command:toy", "Say that the toy is there.")

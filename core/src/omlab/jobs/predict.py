"""Predict: paths -> payloads -> model -> predictions -> paths, as one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any, cast

from omlab.card_schema import FormatCard
from omlab.devices import describe_device
from omlab.digests import digest_of, file_digest
from omlab.errors import GeometryError, OutputError, PluginError, UsageError
from omlab.files import writing
from omlab.formats import (
    cases_in,
    companions,
    default_suffix,
    format_cards,
    implementation,
    read_as,
    read_format,
    suffix_of,
)
from omlab.jobs.outcome import Outcome, complete_before
from omlab.jobs.pictures import check_free, draw_pictures, plan_pictures
from omlab.jobs.prompting import check_images, check_prompts, given_prompts
from omlab.jobs.running import finish, observed
from omlab.models import ModelRef, find_card, find_model
from omlab.progress import task
from omlab.roles import Model, Payload, Promptable, Spatial
from omlab.runs import LOG, Run, logged_cases, open_run, read_log_file
from omlab.settings import complete

if TYPE_CHECKING:
    from omlab.prompts import Prompts


def predict(
    model: str | Path,
    inputs: Sequence[str | Path],
    *,
    output: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    offline: bool | None = None,
    prompts: str | Path | Prompts | None = None,
    overlay: str | Path | None = None,
    read_settings: Mapping[str, Any] | None = None,
) -> Outcome:
    """Predict files and folders.

    Args:
        model: Name of a model or folder of an adapted one.
        inputs: Files, folders of files, DICOM series folders.
        output: A file (one input) or a folder for the run; by default a folder in `omlab-runs/`.
        weights: A local checkpoint instead of published weights.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        settings: Values for the model's settings.
        offline: True: never fetch weights.
        prompts: What the user points at: a prompts file, a markups file of 3D Slicer, or prompts.
        overlay: A PNG file for the picture of one prediction, or a folder for pictures.
        read_settings: Values for the settings of the inputs' format.

    Returns:
        The place of the results and the status of each case.

    Raises:
        OmlabError: When nothing could be started or nothing more can be written.
    """
    if not inputs:
        raise UsageError("Nothing to predict: name at least one file or folder.")
    card = find_card(model)
    given = given_prompts(prompts) if prompts is not None else None
    check_prompts(card, given)
    cases = cases_in([Path(path) for path in inputs], card.takes)
    check_reading(card.takes, cases.values(), read_settings or {})
    if given is not None:
        check_images(given, cases)
    pictures = plan_pictures(card, overlay, cases) if overlay is not None else {}
    ref = find_model(model, weights=weights, device=device, settings=settings, offline=offline)
    work = _Work(ref=ref, cases=cases, prompts=given.prompts if given else None, read_settings=read_settings or {})
    request: dict[str, Any] = {"command": "predict", "model": ref.identity(), "device": ref.device}
    arguments = {"model": str(model), "inputs": [str(path) for path in inputs], "output": str(output or "")}
    if given is not None:
        request["prompts"], arguments["prompts"] = given.request(), given.name
    if read_settings:
        request["read"] = dict(read_settings)
    final = Path(output) if output is not None else default_place(ref, cases, request)
    check_free(pictures, results=final)
    if output is not None and names_a_file(str(output), card.gives):
        outcome = _predict_file(work, final, request, arguments)
    else:
        outcome = _predict_folder(work, final, request, arguments)
    if not pictures:
        return outcome
    return draw_pictures(outcome, pictures, card=card, prompts=work.prompts, read_settings=work.read_settings)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is to be predicted: the model, the inputs by case id and how to read them, and what the user points at."""

    ref: ModelRef
    cases: Mapping[str, Path]
    prompts: Prompts | None
    read_settings: Mapping[str, Any]


def check_reading(kind: str, paths: Iterable[Path], settings: Mapping[str, Any]) -> None:
    """Raise `SettingsError` where the format of one of the inputs has no such settings."""
    if settings:
        for path in paths:
            complete(read_format(path, kind), settings)


def names_a_file(output: str, gives: str) -> bool:
    """Whether `output` is a file for a prediction of kind `gives`, not a folder.

    Raises `UsageError` where its suffix is that of a format which does not write such a prediction.
    """
    if output.endswith("/") or Path(output).is_dir():
        return False
    writers = [card for card in format_cards() if gives in card.writes]
    if suffix_of(Path(output), writers):
        return True
    if Path(output).suffix in {suffix for card in format_cards() for suffix in card.suffixes}:
        known = ", ".join(sorted({suffix for card in writers for suffix in card.suffixes}))
        raise UsageError(f"A {gives} cannot be written to {output}; suffixes that would do: {known}.")
    return False


def default_place(ref: ModelRef, cases: Mapping[str, Path], request: Mapping[str, Any]) -> Path:
    """The folder of a run whose user names none: always the same one for the same request."""
    key = digest_of([request, sorted(str(path.absolute()) for path in cases.values())])[:8]
    return Path("omlab-runs") / f"predict-{ref.name}-{key}"


def _predict_folder(work: _Work, final: Path, request: Mapping[str, Any], arguments: Mapping[str, Any]) -> Outcome:
    digests = {id: file_digest(path) for id, path in work.cases.items()}
    run = open_run(final, kind="predict", request=request, arguments=arguments, digests=digests)
    if run is None:
        return complete_before(final)
    with observed(run):
        missing = {id: path for id, path in work.cases.items() if not run.is_done(id, digests[id])}
        _predict_cases(replace(work, cases=missing), run, digests, suffix=default_suffix(work.ref.card.gives))
        finish(run)
    return Outcome(place=run.final, cases=run.cases)


def _predict_file(work: _Work, output: Path, request: Mapping[str, Any], arguments: Mapping[str, Any]) -> Outcome:
    """One input, one file: made in a run beside it, whose log is kept as `<file>.run.json`."""
    if len(work.cases) > 1:
        raise UsageError(f"{len(work.cases)} inputs cannot go into one file {output}; name a folder with -o.")
    (id, path), log = next(iter(work.cases.items())), output.with_name(f"{output.name}.{LOG}")
    digests = {id: file_digest(path)}
    if output.exists():
        return _existing_file(output, log, request, id, digests[id])
    place = output.absolute().with_name(f".{output.name}.run")
    run = open_run(place, kind="predict", request=request, arguments=arguments)
    assert run is not None  # no digests were given
    with observed(run):
        suffix = suffix_of(output, [card for card in format_cards() if work.ref.card.gives in card.writes])
        _predict_cases(work, run, digests, suffix=suffix, with_companions=False)
        case = run.cases[id]
        if case.status == "done":
            result = next(iter(case.results))
            case.results = {output.name: case.results[result]}
            with writing("The prediction", output):
                (run.folder / result).replace(output)
                run.save()
                (run.folder / LOG).replace(log)
        finish(run)
        rmtree(run.final, ignore_errors=True)
    return Outcome(place=output, cases=run.cases)


def _existing_file(output: Path, log: Path, request: Mapping[str, Any], id: str, digest: str) -> Outcome:
    before = read_log_file(log)
    if before is not None and digest_of(before["request"]) == digest_of(dict(request)):
        case = logged_cases(before).get(id)
        if case is not None and case.holds(digest, output.parent):
            return Outcome(place=output, cases={id: case}, was_complete=True)
    raise OutputError(
        f"{output} exists already and is not the result of this request; remove it or choose another name."
    )


def _predict_cases(
    work: _Work, run: Run, digests: Mapping[str, str], *, suffix: str, with_companions: bool = True
) -> None:
    model = work.ref.load()
    run.notes.append(f"predicted on {describe_device(work.ref.device)}")
    with task("cases", total=len(work.cases)) as advance:
        for id, path in work.cases.items():

            def one(folder: Path, id: str = id, path: Path = path) -> Mapping[str, Any]:
                return _predict_one(work, model, id, path, folder, suffix=suffix, with_companions=with_companions)

            run.attempt(id, digest=digests[id], inputs=[path], work=one)
            advance(1)


def _predict_one(
    work: _Work, model: Model, id: str, path: Path, folder: Path, *, suffix: str, with_companions: bool
) -> Mapping[str, Any]:
    takes = work.ref.card.takes
    source = read_format(path, takes)
    payload = read_as(source, path, kind=takes, settings=work.read_settings)
    prediction = checked_prediction(work.ref, model, payload, prompts=work.prompts)
    name = write_prediction(source, prediction, folder, id=id, suffix=suffix, with_companions=with_companions)
    return {"format": source.name, "prediction": name}


def write_prediction(
    source: FormatCard, prediction: Payload, folder: Path, *, id: str, suffix: str, with_companions: bool = True
) -> str:
    """Write a prediction, and what goes beside inputs that were read as `source`; gives the name of its file."""
    writers = [card for card in format_cards() if suffix in card.suffixes and prediction.kind in card.writes]
    with writing("The prediction", folder):
        implementation(writers[0]).write(prediction, folder / f"{id}{suffix}")
        for card in companions(source, prediction.kind) if with_companions else []:
            implementation(card).write(prediction, folder / f"{id}{card.suffixes[0]}")
    return f"{id}{suffix}"


def checked_prediction(ref: ModelRef, model: Model, payload: Payload, *, prompts: Prompts | None = None) -> Payload:
    """The model's prediction, held to what its card and the geometry promise."""
    if prompts is None:
        return checked(ref, model.predict(payload), payload)
    return checked(ref, cast(Promptable, model).predict(payload, prompts=prompts), payload)


def checked(ref: ModelRef, prediction: Payload, payload: Payload) -> Payload:
    """`prediction`, where it is of the kind of the model's card and on the grid of its input.

    Raises `PluginError` or `GeometryError`.
    """
    if prediction.kind != ref.card.gives:
        raise PluginError(f"'{ref.name}' gave a {prediction.kind}, but its card says {ref.card.gives}.")
    if isinstance(prediction, Spatial) and isinstance(payload, Spatial) and not prediction.same_grid(payload):
        raise GeometryError(f"'{ref.name}' gave a {prediction.kind} that is not on the grid of its input.")
    return prediction

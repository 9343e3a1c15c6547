"""Simulate: a model clicks by itself against a reference, to see how good it gets with how many clicks."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omlab import prompts
from omlab.devices import describe_device
from omlab.digests import digest_of, file_digest
from omlab.errors import GeometryError, PluginError, UsageError
from omlab.files import writing
from omlab.formats import cases_in, default_suffix, read, read_as, read_format
from omlab.jobs.outcome import Outcome, complete_before
from omlab.jobs.pictures import check_free, draw_pictures, plan_pictures
from omlab.jobs.predict import check_reading, checked, default_place, names_a_file, write_prediction
from omlab.jobs.running import finish, observed
from omlab.models import ModelRef, find_card, find_model
from omlab.roles import SimulatesClicks, Spatial
from omlab.runs import open_run

COLUMNS = ("object", "round", "dice")
"""What each row of simulated clicks has; a model may add more."""


def simulate(
    model: str | Path,
    input: str | Path,
    *,
    labels: str | Path,
    clicks: int,
    seed: int = 0,
    output: str | Path | None = None,
    overlay: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    offline: bool | None = None,
    read_settings: Mapping[str, Any] | None = None,
) -> Outcome:
    """Predict one file with clicks that the model sets by itself against a reference.

    The run's folder holds the prediction, the clicks (`<id>.prompts.json`, which `predict` takes again) and how good
    it was after each (`<id>.clicks.csv`: object, round, dice).

    Args:
        model: Name of a model with the capability `simulate`, or folder of an adapted one.
        input: A file or a DICOM series folder.
        labels: The reference: a file of the kind that the model gives, on the grid of the input.
        clicks: Clicks for each object.
        seed: Of the choice among places that are as good.
        output: Folder for the run; by default a folder in `omlab-runs/`.
        overlay: A PNG file for the picture, or a folder.
        weights: A local checkpoint instead of published weights.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        settings: Values for the model's settings.
        offline: True: never fetch weights.
        read_settings: Values for the settings of the input's format.

    Raises:
        OmlabError: When nothing could be started or nothing more can be written.
    """
    card = find_card(model)
    if "simulate" not in card.capabilities:
        raise UsageError(f"'{card.name}' does not simulate clicks: leave --labels and --clicks out.")
    if clicks < 1:
        raise UsageError(f"At least one click must be simulated, not {clicks}.")
    cases = cases_in([Path(input)], card.takes)
    if len(cases) > 1:
        raise UsageError(f"{input} holds {len(cases)} inputs, but the reference is of one: name one file.")
    read_settings = read_settings or {}
    check_reading(card.takes, cases.values(), read_settings)
    read_format(Path(labels), card.gives)
    if output is not None and names_a_file(str(output), card.gives):
        raise UsageError(f"Simulated clicks give several files: name a folder with -o, not {output}.")
    pictures = plan_pictures(card, overlay, cases) if overlay is not None else {}
    ref = find_model(model, weights=weights, device=device, settings=settings, offline=offline)
    simulated = {"labels": file_digest(Path(labels)), "clicks": clicks, "seed": seed}
    request = {"command": "predict", "model": ref.identity(), "device": ref.device, "simulated": simulated}
    if read_settings:
        request["read"] = dict(read_settings)
    final = Path(output) if output is not None else default_place(ref, cases, request)
    check_free(pictures, results=final)
    arguments = {"model": str(model), "inputs": [str(input)], "labels": str(labels), "output": str(output or "")}
    outcome = _simulate_folder(ref, cases, Path(labels), final, request, arguments)
    return draw_pictures(outcome, pictures, card=card, read_settings=read_settings) if pictures else outcome


def _simulate_folder(
    ref: ModelRef,
    cases: Mapping[str, Path],
    labels: Path,
    final: Path,
    request: Mapping[str, Any],
    arguments: Mapping[str, Any],
) -> Outcome:
    ((id, path),) = cases.items()
    digest = digest_of([file_digest(path), request["simulated"]["labels"]])
    run = open_run(final, kind="predict", request=request, arguments=arguments, digests={id: digest})
    if run is None:
        return complete_before(final)
    with observed(run):
        if not run.is_done(id, digest):
            model = ref.load()
            if not isinstance(model, SimulatesClicks):
                raise PluginError(f"'{ref.name}' declares the capability 'simulate' but has no method of that name.")
            run.notes.append(f"predicted on {describe_device(ref.device)}")

            def work(folder: Path) -> Mapping[str, Any]:
                clicks, seed = request["simulated"]["clicks"], request["simulated"]["seed"]
                how = {"clicks": clicks, "seed": seed, "read_settings": request.get("read", {})}
                return _simulate_one(ref, model, id, path, labels, folder, **how)

            run.attempt(id, digest=digest, inputs=[path, labels], work=work)
        finish(run)
    return Outcome(place=run.final, cases=run.cases)


def _simulate_one(
    ref: ModelRef,
    model: SimulatesClicks,
    id: str,
    path: Path,
    reference_path: Path,
    folder: Path,
    *,
    clicks: int,
    seed: int,
    read_settings: Mapping[str, Any],
) -> Mapping[str, Any]:
    source = read_format(path, ref.card.takes)
    payload = read_as(source, path, kind=ref.card.takes, settings=read_settings)
    reference = read(reference_path, kind=ref.card.gives)
    if isinstance(payload, Spatial) and not payload.same_grid(reference):
        raise GeometryError(
            f"{reference_path} does not lie on the grid of {path}: shape, spacing and position must be the input's."
        )
    found = model.simulate(payload, reference, clicks=clicks, seed=seed)
    prediction = checked(ref, found.prediction, payload)
    rows = [dict(row) for row in found.rows]
    if not rows or any(set(COLUMNS) - set(row) for row in rows):
        raise PluginError(f"'{ref.name}' must give rows with {', '.join(COLUMNS)} for simulated clicks.")
    name = write_prediction(source, prediction, folder, id=id, suffix=default_suffix(ref.card.gives))
    # by the name that the user gave, so that the file fits the input again
    named = found.prompts.model_copy(update={"image": path.absolute().name})
    prompts.write(named, folder / f"{id}.prompts.json")
    _write_rows(rows, folder / f"{id}.clicks.csv")
    return {"format": source.name, "prediction": name, "prompts": f"{id}.prompts.json", "clicks": rows}


def _write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    columns = list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))
    with writing("The table of clicks", path), path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(cast("list[dict[str, Any]]", rows))

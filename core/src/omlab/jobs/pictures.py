"""Pictures of predictions (`--overlay`): drawn from a run's results once they are there.

They are no part of the run: asked for later, of a run that is complete, they are drawn without predicting again.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omlab import prompts as prompts_file
from omlab.card_schema import ModelCard
from omlab.errors import OmlabWarning, OutputError, PluginError, UsageError
from omlab.files import replacing, writing
from omlab.formats import format_cards, read
from omlab.jobs.outcome import Outcome
from omlab.progress import task
from omlab.prompts import Prompts
from omlab.roles import Pictured
from omlab.runs import Case

SUFFIX = ".png"


def plan_pictures(card: ModelCard, place: str | Path, cases: Mapping[str, Path]) -> dict[str, Path]:
    """Where the picture of each case goes: `place` for one input, or `<id>.png` in it where it is a folder.

    Args:
        card: The model's.
        place: A `.png` file, or a folder.
        cases: The inputs by case id.

    Raises `UsageError` where such predictions have no picture, or the place is neither a PNG file nor a folder.
    """
    if not any(card.gives in format.pictured for format in format_cards()):
        raise UsageError(f"A {card.gives}, which '{card.name}' gives, has no picture: leave --overlay out.")
    file = Path(place)
    if str(place).endswith("/") or file.is_dir() or not file.suffix:
        paths = {id: file / f"{id}{SUFFIX}" for id in cases}
    elif file.suffix.lower() != SUFFIX:
        raise UsageError(f"A picture cannot be written to {place}: name a file that ends in {SUFFIX}, or a folder.")
    elif len(cases) > 1:
        raise UsageError(f"{len(cases)} pictures cannot go into one file {place}; name a folder with --overlay.")
    else:
        paths = dict.fromkeys(cases, file)
    return paths


def check_free(paths: Mapping[str, Path], *, results: Path) -> None:
    """Raise `OutputError` where something is in a picture's place and `results` are not there, so it is not theirs."""
    for path in paths.values():
        if path.is_dir() or (path.exists() and not results.exists()):
            raise OutputError(f"{path} exists already; remove it or choose another name for the picture.")


def draw_pictures(
    outcome: Outcome,
    paths: Mapping[str, Path],
    *,
    card: ModelCard,
    prompts: Prompts | None = None,
    read_settings: Mapping[str, Any],
) -> Outcome:
    """Draw the cases that are done, with the marks of `prompts` or of the case's own; the outcome names the files.

    Raises `OutputError` where a picture cannot be written or another one is in its place.
    """
    done = {id: path for id, path in paths.items() if id in outcome.cases and outcome.cases[id].status == "done"}
    with task("pictures", total=len(done)) as advance:
        for id, path in done.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OmlabWarning)  # what there is to say of the input is in its case
                case = outcome.cases[id]
                picture = _picture(outcome.place, case, card=card, prompts=prompts, read_settings=read_settings)
            try:
                _write(picture, path)
            except OutputError as error:
                error.exit_status = 1  # the predictions are there
                raise
            advance(1)
    return replace(outcome, pictures=tuple(done.values()))


def _write(picture: bytes, path: Path) -> None:
    with writing("The picture", path):
        if not path.exists():
            with replacing(path) as temporary:
                temporary.write_bytes(picture)
        elif path.read_bytes() != picture:
            raise OutputError(f"{path} exists already and is another picture; remove it or choose another.")


def _picture(
    place: Path, case: Case, *, card: ModelCard, prompts: Prompts | None, read_settings: Mapping[str, Any]
) -> bytes:
    stored = place / case.values["prediction"] if place.is_dir() else place
    prediction = read(stored, kind=card.gives)
    if not isinstance(prediction, Pictured):
        raise PluginError(
            f"{stored} is a {card.gives} without a picture, though the card of its format says otherwise."
        )
    if prompts is None and "prompts" in case.values:
        prompts = prompts_file.read(place / case.values["prompts"])
    return prediction.overlay(read(Path(case.inputs[0]), kind=card.takes, **read_settings), prompts=prompts)

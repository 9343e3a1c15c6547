"""Models of omlab answer questions before they are judged: each set and model is a run of the verb `generate`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omlab import apply_verb
from omlab.errors import InputError, OmlabError, SettingsError, UsageError
from omlab.models import find_card
from omlab.session import verb_of
from omlab.settings import by_home
from omlab.suggest import did_you_mean
from omlab_text.named import named_model

GENERATE = "generate"
_NAME = re.compile(r"[\w.+@-]+")


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """A model that answers, under the name that it has on the board."""

    name: str
    model: str
    weights: Path | None
    settings: Mapping[str, Any]
    options: Mapping[str, Any]


def answerers(models: Sequence[str], given: Mapping[str, Any]) -> list[Answerer]:
    """The models, each with its settings and its options of `generate`.

    Args:
        models: Each a model of omlab, a folder or a GGUF file; `NAME=MODEL` gives it another name on the board.
        given: Values by `NAME.SETTING`, or by `SETTING` for all models that have it.

    Raises:
        UsageError: Two have one name, or one has a name that is no file's, or is no model that generates.
        SettingsError: A value is nobody's.
    """
    named: dict[str, str] = {}
    for word in models:
        name, equals, model = word.partition("=")
        name, model = (name, model) if equals else (Path(word).name, word)
        if not _NAME.fullmatch(name) or not model:
            raise UsageError(f"'{word}' among the models must be MODEL or NAME=MODEL, with a name that is a file's.")
        if name in named:
            raise UsageError(f"Two models are called '{name}': write NAME=MODEL to call one of them otherwise.")
        named[name] = model
    own, common = _by_name(given, list(named))
    found: list[Answerer] = []
    used: set[str] = set()
    for name, model in named.items():
        loaded, weights = named_model(model)
        card = find_card(loaded)
        homes = {"model": card.settings, "options": verb_of(card, GENERATE, name=model).options}
        shared = {key: value for key, value in common.items() if any(key in home for home in homes.values())}
        used |= shared.keys()
        values = by_home({**shared, **own[name]}, homes, plain=("model", "options"))
        found.append(
            Answerer(name=name, model=loaded, weights=weights, settings=values["model"], options=values["options"])
        )
    lost = next((key for key in common if key not in used), None)
    if lost is not None:
        raise SettingsError(f"None of the models has a setting '{lost}': write NAME.SETTING=VALUE, or SETTING=VALUE.")
    return found


def _by_name(given: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """What was given for one model, by its name (which may have dots), and what was for all."""
    own: dict[str, dict[str, Any]] = {name: {} for name in names}
    common = {}
    for key, value in given.items():
        whose = max((name for name in names if key.startswith(f"{name}.")), key=len, default=None)
        if whose is not None:
            own[whose][key.removeprefix(f"{whose}.")] = value
        elif "." in key:
            hint = did_you_mean(key.rpartition(".")[0], names, none="there are none.")
            raise SettingsError(f"'{key}' is a setting of none of the models: {hint}")
        else:
            common[key] = value
    return own, common


def question_files(place: Path) -> dict[str, Path]:
    """The files of questions by set, which is called as its file. Raises `InputError`."""
    files = sorted(place.glob("*.jsonl")) if place.is_dir() else [place]
    if not place.exists() or not files:
        raise InputError(f"{place} is neither a file of questions nor a folder of such (.jsonl).")
    return {file.stem: file for file in files}


def answer_all(questions: Mapping[str, Path], models: Sequence[Answerer], *, answers: Path, device: str) -> None:
    """Have each model answer each set into `answers`/<set>/<model>/; what is answered already is not asked again.

    Raises `OmlabError` where a model leaves questions without an answer.
    """
    for set_name, file in questions.items():
        for each in models:
            outcome = apply_verb(
                GENERATE,
                each.model,
                [file],
                output=answers / set_name / each.name,
                weights=each.weights,
                settings=each.settings,
                options=each.options,
                device=device,
            )
            failed = [record for record in outcome if record.status != "done"]
            if failed:
                raise OmlabError(
                    f"{each.name} left {len(failed)} of {len(list(outcome))} questions of {set_name} without an "
                    f"answer; the first is {failed[0].id}: {failed[0].reason} "
                    "Run the same command again: only these are asked."
                )

"""Checks of single cards, made without running anything."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import DatasetCard, FormatCard, ModelCard, Setting, validate
from omlab.errors import CardError, OmlabError
from omlab_testkit.checks import check
from omlab_testkit.kit import CardSubject, ModelSubject
from omlab_testkit.outcome import PromiseError

_ENTRY_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "model": ("weights", "device", "settings", "config"),
    "dataset": ("root", "settings"),
    "adapter": ("settings",),
    "evaluator": ("settings",),
}
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "list": (list,),
}
_NO_LICENCE = frozenset({"unknown", "none", "n/a", "todo", "tbd", "???"})


@check(of="card")
def card_is_complete(subject: CardSubject, folder: Path) -> None:
    """The card has every field that its kind needs, each of the right form."""
    try:
        card = validate(subject.offer)
    except CardError as error:
        raise PromiseError(str(error)) from None
    licences = {"licence": card.licence}
    if isinstance(card, DatasetCard):
        licences["data_licence"] = card.data_licence
    if isinstance(card, ModelCard):
        licences |= {f"weights.{tag}.licence": weights.licence for tag, weights in card.weights.items()}
    for field, licence in licences.items():
        if licence.lower() in _NO_LICENCE:
            raise PromiseError(f"'{card.name}': {field} is '{licence}'; say which, or in words that none is given.")


@check(of="card")
def settings_have_valid_defaults(subject: CardSubject, folder: Path) -> None:
    """The default of every setting has the setting's own type, is one of its choices and within its bounds."""
    for name, setting in _valid(subject).settings.items():
        problem = _setting_problem(setting)
        if problem:
            raise PromiseError(f"'{subject.name}', setting '{name}': {problem}.")


def _setting_problem(setting: Setting) -> str:
    values = [setting.default, *(setting.choices or [])]
    for value in values:
        if not isinstance(value, _TYPES[setting.type]) or (isinstance(value, bool) and setting.type != "bool"):
            return f"{value!r} is not of the type {setting.type}"
    if setting.choices is not None and setting.default not in setting.choices:
        return f"the default {setting.default!r} is not among the choices {setting.choices}"
    if setting.type in ("int", "float"):
        low, high = setting.minimum, setting.maximum
        if (low is not None and setting.default < low) or (high is not None and setting.default > high):
            return f"the default {setting.default} is outside {low}..{high}"
    return ""


@check(of="card")
def needs_name_other_models(subject: CardSubject, folder: Path) -> None:
    """`needs` names models, each once and none the card itself."""
    needs = _valid(subject).needs
    for name in needs:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+([-_][a-z0-9]+)*)?", name):
            raise PromiseError(f"'{subject.name}' needs '{name}', which cannot be the name of a model.")
        if needs.count(name) > 1 or name.partition(".")[0] == subject.name:
            raise PromiseError(f"'{subject.name}' needs '{name}', which is itself or named twice.")


@check(of="card")
def entry_can_be_called(subject: CardSubject, folder: Path) -> None:
    """The entry exists, imports with the declared dependencies alone and takes the arguments of its role."""
    _valid(subject)
    try:
        entry = subject.entry
    except OmlabError as error:
        raise PromiseError(str(error)) from None
    if not callable(entry):
        raise PromiseError(f"The entry of '{subject.name}' is a {type(entry).__name__} and cannot be called.")
    arguments = dict.fromkeys(_ENTRY_ARGUMENTS.get(subject.offer.kind, ()))
    positional = () if subject.offer.kind == "format" else (None,)
    try:
        inspect.signature(entry).bind(*positional, **arguments)
    except TypeError as error:
        wanted = ", ".join((*("card" for _ in positional), *(("*", *arguments) if arguments else ())))
        raise PromiseError(f"The entry of '{subject.name}' must take ({wanted}): {error}.") from None


@check(of="model", runs_model=False)
def weights_are_described(subject: ModelSubject, folder: Path) -> None:
    """Every weights file has a size, a licence, a name of its own, and no wrapper where the form allows none."""
    for tag, weights in subject.model_card.weights.items():
        names = [file.name for file in weights.files]
        if len(set(names)) != len(names):
            raise PromiseError(f"'{subject.name}.{tag}' has two files of the same name: {', '.join(names)}.")
        for file in weights.files:
            if file.name.endswith(".safetensors") and file.wrapper:
                raise PromiseError(f"'{subject.name}.{tag}': {file.name} cannot have the wrapper '{file.wrapper}'.")
            if file.url.startswith("file:"):
                raise PromiseError(f"'{subject.name}.{tag}': {file.name} is published on one machine only, {file.url}.")


@check(of="format")
def format_card_is_true(subject: CardSubject, folder: Path) -> None:
    """A format has a method for each direction that its card names, and is found by a suffix or as a folder."""
    card, entry = cast(FormatCard, subject.card), subject.entry
    _require_methods(subject, entry, {"read": bool(card.reads), "write": bool(card.writes)})
    if not (card.reads or card.writes):
        raise PromiseError(f"The format '{card.name}' neither reads nor writes anything.")
    if not (card.suffixes or card.folders):
        raise PromiseError(f"The format '{card.name}' has no suffix and is no folder: it cannot be found.")
    if only := sorted(set(card.default_for) - set(card.writes)):
        raise PromiseError(f"The format '{card.name}' is the default for '{only[0]}', which it does not write.")
    if card.name in card.beside:
        raise PromiseError(f"The format '{card.name}' is beside itself.")


def _require_methods(subject: CardSubject, thing: Any, wanted: dict[str, bool]) -> None:
    for method, needed in wanted.items():
        if needed and not callable(getattr(thing, method, None)):
            raise PromiseError(f"The {subject.offer.kind} '{subject.name}' has no method '{method}'.")


@check(of="adapter")
def adapter_answers_its_role(subject: CardSubject, folder: Path) -> None:
    """An adapter can be made with its default settings, and has `fit` and `restore`."""
    adapter = subject.entry(subject.card, settings=subject.settings)
    _require_methods(subject, adapter, {"fit": True, "restore": True})


def _valid(subject: CardSubject) -> Any:
    try:
        return subject.card
    except CardError as error:
        raise PromiseError(str(error)) from None

"""Checks of single cards, made without running anything."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import (
    AdapterCard,
    BaseCard,
    DatasetCard,
    EvaluatorCard,
    FormatCard,
    ModelCard,
    PayloadCard,
    Setting,
    validate,
)
from omlab.errors import CardError, OmlabError
from omlab.registry import load_entry, registry
from omlab.suggest import did_you_mean
from omlab_testkit.checks import check
from omlab_testkit.outcome import PromiseError
from omlab_testkit.subjects import CardSubject, ModelSubject

_ENTRY_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "model": ("weights", "needs", "device", "settings", "config"),
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
    """The default of every setting and option has its own type, is one of its choices and within its bounds."""
    for where, settings in _all_settings(_valid(subject)):
        for name, setting in settings.items():
            problem = _setting_problem(setting)
            if problem:
                raise PromiseError(f"'{subject.name}', {where} '{name}': {problem}.")


def _all_settings(card: BaseCard) -> Iterator[tuple[str, Mapping[str, Setting]]]:
    yield "setting", card.settings
    if isinstance(card, ModelCard):
        for verb, facts in card.does.items():
            yield f"option of {verb}", facts.options
        for recipe, training in card.trains.items():
            yield f"setting of the recipe {recipe}", training.settings


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
def kinds_are_known(subject: CardSubject, folder: Path) -> None:
    """Every kind that a card names has a payload card in the environment that its package declares."""
    known = {card.name for card in registry().cards("payload")}
    for where, kind in _kinds(_valid(subject)):
        if kind not in known:
            hint = did_you_mean(kind, known, none="no installed package has payloads.")
            raise PromiseError(f"'{subject.name}': {where} is of the kind '{kind}', which no payload card has: {hint}")


def _kinds(card: BaseCard) -> Iterator[tuple[str, str]]:
    if isinstance(card, ModelCard):
        for verb, facts in card.does.items():
            yield from ((f"the input '{name}' of {verb}", kind) for name, kind in facts.kinds.items())
            yield f"what {verb} gives", facts.gives
        for recipe, training in card.trains.items():
            yield from ((f"what {verb} gives after {recipe}", kind) for verb, kind in training.gives.items())
            yield from [(f"the target of {recipe}", training.target)] if training.target else []
    if isinstance(card, FormatCard):
        words = ("reads", "writes", "collects", "pictured", "overlays")
        yield from ((f"what the format {word}", kind) for word in words for kind in getattr(card, word))
    if isinstance(card, DatasetCard):
        yield from ((f"the input '{name}'", kind) for name, kind in card.inputs.items())
        yield from [("its target", card.target)] if card.target else []
    if isinstance(card, EvaluatorCard):
        for result, target in {card.judges: card.target, **card.also}.items():
            yield from (("what it judges", result), ("its target", target))
    if isinstance(card, AdapterCard):
        yield from ((f"what {verb} gives", kind) for verb, kind in card.gives.items())


@check(of="model", runs_model=False, together=True)
def needs_name_other_models(subject: ModelSubject, folder: Path) -> None:
    """What a model needs are other models, by a name that one can have."""
    for need, name in subject.model_card.needs.items():
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+([-_][a-z0-9]+)*)?\??", name):
            raise PromiseError(f"'{subject.name}' needs '{name}' as its {need}, which cannot be the name of a model.")
        if name.removesuffix("?").partition(".")[0] == subject.name:
            raise PromiseError(f"'{subject.name}' needs itself as its {need}.")


@check(of="model", runs_model=False, together=True)
def advice_is_for_settings_that_are_there(subject: ModelSubject, folder: Path) -> None:
    """What a recipe's `defaults` advise an adapter are settings that it has, as far as it is installed."""
    adapters = {offer.name: offer for offer in registry().cards("adapter")}
    for recipe, training in subject.model_card.trains.items():
        for adapter, advice in training.defaults.items():
            if adapter not in adapters:
                continue
            known = validate(adapters[adapter]).settings
            unknown = sorted(set(advice) - set(known))
            if unknown:
                hint = did_you_mean(unknown[0], known, none="it has none.")
                raise PromiseError(
                    f"The recipe '{recipe}' of '{subject.name}' advises '{adapter}' on '{unknown[0]}', which is no "
                    f"setting of it: {hint}"
                )


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
    if subject.offer.kind == "payload":
        _check_functions(subject)
        return
    arguments = dict.fromkeys(_ENTRY_ARGUMENTS.get(subject.offer.kind, ()))
    positional = () if subject.offer.kind == "format" else (None,)
    try:
        inspect.signature(entry).bind(*positional, **arguments)
    except TypeError as error:
        wanted = ", ".join((*("card" for _ in positional), *(("*", *arguments) if arguments else ())))
        raise PromiseError(f"The entry of '{subject.name}' must take ({wanted}): {error}.") from None


def _check_functions(subject: CardSubject) -> None:
    """The functions that a payload card names beside its class."""
    card = cast(PayloadCard, subject.card)
    arguments: dict[str, tuple[Any, ...]] = {"examples": (), "odd": (), "survey": ((), "input"), "gate": (None, {})}
    for field, positional in arguments.items():
        named: str | None = getattr(card, field)
        if named is None:
            continue
        try:
            function = load_entry(subject.offer, named)
            inspect.signature(function).bind(*positional)
        except OmlabError as error:
            raise PromiseError(f"{field} of the payload '{card.name}': {error}") from None
        except TypeError as error:
            wanted = "(cases, name)" if positional else "()"
            raise PromiseError(f"{field} of the payload '{card.name}' must take {wanted}: {error}.") from None


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


@check(of="format", together=True)
def format_card_is_true(subject: CardSubject, folder: Path) -> None:
    """A format has a method for each thing that its card says it does, and is found by a suffix or as a folder."""
    card, entry = cast(FormatCard, subject.card), subject.entry
    wanted = {
        "read": bool(card.reads),
        "write": bool(card.writes),
        "index": card.many,
        "pack": bool(card.collects),
        "collect": bool(card.collects),
    }
    lacking = [method for method, needed in wanted.items() if needed and not callable(getattr(entry, method, None))]
    if lacking:
        raise PromiseError(f"The format '{card.name}' has no method '{lacking[0]}'.")
    if not (card.reads or card.writes):
        raise PromiseError(f"The format '{card.name}' neither reads nor writes anything.")
    if not (card.suffixes or card.folders):
        raise PromiseError(f"The format '{card.name}' has no suffix and is no folder: it cannot be found.")
    for word, kinds, of in (
        ("is the default for", card.default_for, card.writes),
        ("collects", card.collects, card.writes),
    ):
        if only := sorted(set(kinds) - set(of)):
            raise PromiseError(f"The format '{card.name}' {word} '{only[0]}', which it does not write.")
    if card.name in card.beside:
        raise PromiseError(f"The format '{card.name}' is beside itself.")


def _valid(subject: CardSubject) -> Any:
    try:
        return subject.card
    except CardError as error:
        raise PromiseError(str(error)) from None

"""Checks of adapters: on a small model, or on what `base(card)` in the package's tests/examples.py gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile
from typing import Any, cast

from omlab.card_schema import AdapterCard, Verb
from omlab.errors import OmlabError
from omlab.jobs.adapt import verbs_of
from omlab.roles import Adapted, Dataset
from omlab_testkit.checks import check
from omlab_testkit.compare import ROUNDING, difference, fingerprint
from omlab_testkit.loading import quiet
from omlab_testkit.outcome import CannotCheckError, PromiseError
from omlab_testkit.subjects import CardSubject

STOP = 7
"""Steps after which a training of the small model is interrupted: in the middle of an epoch."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What an adapter is tried on."""

    base: Any
    data: Dataset
    recipe: str | None
    is_small: bool


@check(of="adapter")
def adapter_answers_its_role(subject: CardSubject, folder: Path) -> None:
    """An adapter can be made with its default settings, and has `fit` and `restore`."""
    adapter = _adapter(subject)
    lacking = [name for name in ("fit", "restore") if not callable(getattr(adapter, name, None))]
    if lacking:
        raise PromiseError(f"The adapter '{subject.name}' has no method '{lacking[0]}'.")


@check(of="adapter")
def fitting_gives_the_same_again(subject: CardSubject, folder: Path) -> None:
    """What `fit` gives is JSON and one safetensors file, the same for the same seed, and the base stays as it is."""
    trial = _trial(subject)
    before = _digest(trial)
    first, second = (_fit(subject, trial, folder / name) for name in ("first", "second"))
    if _digest(trial) != before:
        raise PromiseError(f"The adapter '{subject.name}' changes the model that it adapts.")
    for what, value in (("config", first.config), ("history", list(first.history)), ("does", first.does)):
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise PromiseError(f"The {what} that '{subject.name}' gives is not JSON: {error}.") from None
    if not first.tensors.is_file():
        raise PromiseError(f"'{subject.name}' says that it wrote {first.tensors.name}, which is not there.")
    found = difference(_tensors(second), _tensors(first), where="what it keeps") or difference(
        second.config, first.config, where="its config"
    )
    if found:
        raise PromiseError(f"The adapter '{subject.name}' gives another model for the same seed: {found}.")


@check(of="adapter")
def only_what_changed_is_kept(subject: CardSubject, folder: Path) -> None:
    """The tensors that an adapter keeps are none that the base has too."""
    trial = _trial(subject)
    known = _state(trial.base.session().model)
    for name, tensor in _tensors(_fit(subject, trial, folder / "work")).items():
        same = known.get(name)
        if same is not None and same.shape == tensor.shape and bool((same.cpu() == tensor).all()):
            raise PromiseError(f"'{subject.name}' keeps '{name}', which is as it is in the base: keep what changed.")


@check(of="adapter")
def restored_model_does_what_it_says(subject: CardSubject, folder: Path) -> None:
    """A restored model has the verbs that the adapter or recipe says, and is the same when it is restored again."""
    trial = _trial(subject)
    adapted = _fit(subject, trial, folder / "work")
    kept = folder / "weights.safetensors"
    copyfile(adapted.tensors, kept)
    config = json.loads(json.dumps(dict(adapted.config)))
    card = trial.base.session().card
    does = adapted.does if adapted.does is not None else verbs_of(card, trial.recipe)
    if not does:
        raise PromiseError(f"A model adapted by '{subject.name}' does nothing: say what in `does`.")
    wanted: dict[str, Any] = {}
    for _ in range(2):
        base = _trial(subject).base
        with quiet():
            model = _adapter(subject).restore(base, config=config, tensors=kept)
        for verb, result in _results(subject, base, model, does, trial).items():
            found = difference(result, wanted.setdefault(verb, result), tolerance=ROUNDING, where="what it gives")
            if found:
                raise PromiseError(f"A model adapted by '{subject.name}' is another one when restored again: {found}.")
    if trial.is_small and trial.recipe == "classification":
        _check_learned(subject, wanted["predict"], trial)


@check(of="adapter")
def interrupted_fit_goes_on(subject: CardSubject, folder: Path) -> None:
    """A training that is interrupted and started again in its folder ends as one that was not."""
    trial = _trial(subject)
    if not trial.is_small or trial.recipe is None:
        return
    from omlab_testkit.small import SmallRecipe, Stopped

    whole = _tensors(_fit(subject, trial, folder / "whole"))
    SmallRecipe.asked, SmallRecipe.stop_at = 0, STOP
    try:
        _fit(subject, trial, folder / "stopped")
    except Stopped:
        pass
    else:
        raise PromiseError(f"'{subject.name}' trains by another recipe than the model's: its loss was not asked for.")
    finally:
        SmallRecipe.asked, SmallRecipe.stop_at = 0, None
    found = difference(_tensors(_fit(subject, trial, folder / "stopped")), whole, where="what it keeps")
    if found:
        raise PromiseError(f"An interrupted fit of '{subject.name}' goes on to another model: {found}.")
    if SmallRecipe.asked >= SmallRecipe.steps:
        raise PromiseError(f"An interrupted fit of '{subject.name}' begins anew: keep a checkpoint in its folder.")


def _trial(subject: CardSubject) -> Trial:
    """The package's own base and data, else the small ones. Raises `CannotCheckError`."""
    own = subject.own("base")
    if own is not None:
        base, data, recipe = own
        return Trial(base=base, data=data, recipe=recipe, is_small=False)
    card = cast(AdapterCard, subject.card)
    if card.tasks and "classification" not in card.tasks:
        raise CannotCheckError(
            f"'{card.name}' is for {' and '.join(card.tasks)}, the kit's small model for classification; write "
            "base(card), which gives a base, data and a recipe, in tests/examples.py"
        )
    lacking = [name for name in ("torch", "omlab_payloads", "omlab_train") if find_spec(name) is None]
    if lacking:
        raise CannotCheckError(f"the kit's small model needs the package {lacking[0]}")
    from omlab_testkit.small import SmallBase, small_data

    base = SmallBase()
    if card.requires != "recipe" and card.requires not in base.card.does:
        raise CannotCheckError(f"'{card.name}' requires '{card.requires}'; write base(card) in tests/examples.py")
    recipe = "classification" if card.requires == "recipe" else None
    return Trial(base=base, data=small_data(), recipe=recipe, is_small=True)


def _fit(subject: CardSubject, trial: Trial, folder: Path) -> Adapted:
    folder.mkdir(exist_ok=True)
    settings: Mapping[str, Any] = {}
    if trial.recipe is not None:
        facts = trial.base.session().card.trains[trial.recipe]
        settings = {name: setting.default for name, setting in facts.settings.items()}
    try:
        with quiet():
            found: Adapted = _adapter(subject).fit(
                trial.base, trial.data, recipe=trial.recipe, settings=settings, seed=0, folder=folder
            )
    except OmlabError as error:
        raise PromiseError(
            f"The adapter '{subject.name}' cannot adapt the model that it is tried on: {error}"
        ) from error
    return found


def _results(
    subject: CardSubject, base: Any, model: Any, does: Mapping[str, Any], trial: Trial
) -> dict[str, list[Any]]:
    """What an adapted model gives for the data by each of its verbs, held to them."""
    from omlab.jobs.sources import match_inputs
    from omlab.session import Session

    card = base.session().card.model_copy(update={"does": {v: Verb.model_validate(facts) for v, facts in does.items()}})
    session = Session(model, card=card, identity={}, name=f"a model adapted by {subject.name}")
    samples = [case.load() for case in trial.data.cases("train")]
    found = {}
    for verb, facts in session.card.does.items():
        if not callable(getattr(model, verb, None)):
            raise PromiseError(
                f"A model adapted by '{subject.name}' says that it does '{verb}', but has no such method."
            )
        kinds = trial.data.about("train").inputs
        names = match_inputs(kinds, facts, model=session.name, data="the data", mapped={})
        batch = [{names[key]: value for key, value in s.inputs.items() if key in names} for s in samples]
        with quiet():
            results = session.apply(verb, batch)
        for result in results:
            if isinstance(result, Exception):
                raise PromiseError(
                    f"A model adapted by '{subject.name}' fails to {verb}: {result}"
                ) from result.__cause__
        found[verb] = list(results)
    return found


def _check_learned(subject: CardSubject, results: list[Any], trial: Trial) -> None:
    """Of two kinds of points that are easily told apart, most are."""
    targets = [case.load().target for case in trial.data.cases("train")]
    right = sum(a.predicted == b.predicted for a, b in zip(results, targets, strict=True))  # type: ignore[union-attr]
    if right < 0.75 * len(targets):
        raise PromiseError(
            f"A model adapted by '{subject.name}' is right in {right} of {len(targets)} cases that it has seen."
        )


def _digest(trial: Trial) -> str:
    """Of the base's networks: the loaded one, and one that is built anew."""
    models = [trial.base.session().model, trial.base.trainable() if trial.recipe else None]
    return fingerprint([_state(model) for model in models])


def _state(model: Any) -> dict[str, Any]:
    """The weights of a model that shows a network."""
    module = getattr(model, "module", None)
    return dict(module.state_dict()) if module is not None and hasattr(module, "state_dict") else {}


def _tensors(adapted: Adapted) -> dict[str, Any]:
    """What an adapter has kept; a file without tensors may be empty."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not adapted.tensors.stat().st_size:
        return {}
    try:
        return dict(load_file(adapted.tensors))
    except SafetensorError as error:
        raise PromiseError(f"{adapted.tensors.name} is no safetensors file: {error}.") from None


def _adapter(subject: CardSubject) -> Any:
    return subject.entry(subject.card, settings=subject.settings)

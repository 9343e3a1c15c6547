"""Checks of a model as a whole: its methods, its size, what it needs, and how it is saved."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from omlab.errors import OmlabError, WeightsError
from omlab.models import ModelRef
from omlab.roles import Streams
from omlab.weights import Weights
from omlab_testkit.checks import check
from omlab_testkit.checks.odd import refusal
from omlab_testkit.checks.verbs import no_network
from omlab_testkit.compare import ROUNDING, difference
from omlab_testkit.loading import model_ref, quiet
from omlab_testkit.networks import network, other_weights
from omlab_testkit.outcome import PromiseError
from omlab_testkit.subjects import ModelSubject

_TRAINABLE = ("module", "layers", "retarget", "recipe", "config")


@check(of="model")
def methods_are_there(subject: ModelSubject, folder: Path) -> None:
    """A model has a method (batch, /, **options) for each verb, `stream` where one streams, and what recipes need."""
    model, card = subject.model, subject.model_card
    for verb, facts in card.does.items():
        method = getattr(model, verb, None)
        if not callable(method):
            raise PromiseError(f"'{subject.name}' has the verb '{verb}' on its card, but no method of that name.")
        try:
            inspect.signature(method).bind([], **dict.fromkeys(facts.options))
        except TypeError as error:
            wanted = ", ".join(["batch", "/", *(["*", *facts.options] if facts.options else [])])
            raise PromiseError(f"'{verb}' of '{subject.name}' must take ({wanted}): {error}.") from None
        if facts.streams and not isinstance(model, Streams):
            raise PromiseError(
                f"'{verb}' of '{subject.name}' streams by its card, but the model has no method 'stream'."
            )
    lacking = [name for name in _TRAINABLE if not hasattr(model, name)]
    if card.trains and lacking:
        raise PromiseError(f"'{subject.name}' has recipes on its card, but no {', '.join(lacking)}.")


@check(of="model")
def parameters_are_counted_right(subject: ModelSubject, folder: Path) -> None:
    """The number of parameters on the card is the network's, within two per cent."""
    stated, module = subject.model_card.parameters, getattr(subject.model, "module", None)
    if stated is None or module is None:
        return
    counted = sum(parameter.numel() for parameter in module.parameters())
    if abs(counted - stated) > 0.02 * counted:
        raise PromiseError(f"'{subject.name}' has {counted} parameters, not {stated} as its card says.")


@check(of="model", each=False)
def loading_is_repeatable(subject: ModelSubject, folder: Path) -> None:
    """Loading touches no network; a model has the same identity (JSON) each time, an untrained one the same weights."""
    with no_network(allowed=subject.model_card.is_remote) as attempts:
        again = subject.load()
    if attempts:
        raise PromiseError(f"'{subject.name}' touches the network when it is loaded: {attempts[0]}.")
    try:
        first, second = (json.dumps(session.identity, sort_keys=True) for session in (subject.session, again))
    except (TypeError, ValueError) as error:
        raise PromiseError(f"The identity of '{subject.name}' is not JSON: {error}.") from None
    if first != second:
        raise PromiseError(f"The identity of '{subject.name}' is another each time that it is loaded.")
    modules = [getattr(session.model, "module", None) for session in (subject.session, again)]
    if all(hasattr(module, "state_dict") for module in modules):
        states = [dict(module.state_dict()) for module in modules]  # type: ignore[union-attr]
        found = difference(states[1], states[0], where="its state dict")
        if found:
            raise PromiseError(f"'{subject.name}' untrained is another network each time: {found}.")


@check(of="model", needs=True)
def needs_are_taken_from_the_session(subject: ModelSubject, folder: Path) -> None:
    """A model works with what is handed to it for its needs, and another such model is another identity."""
    refs = [model_ref(subject) for _ in range(2)]
    for name, need in refs[0].needs.items():
        if not isinstance(need, ModelRef):
            continue  # a stand-in, whose identity says nothing
        identity = refs[0].identity()["needs"].get(name)
        if not identity or identity.get("name") != need.name:
            raise PromiseError(f"The identity of '{subject.name}' does not say which model it has as '{name}'.")
    for verb in subject.model_card.does:
        of_verb = subject.of_verb(verb)
        of_verb.results(
            of_verb.cases[:1], what=f"an example with small models as its needs ({', '.join(refs[0].needs)})"
        )


@check(of="model", remote=False)
def bad_weights_are_refused(subject: ModelSubject, folder: Path) -> None:
    """Weights that are absent, empty, text or cut off are refused with a `WeightsError` that names the file."""
    published = next((w for w in subject.model_card.weights.values() if w.files), None)
    if published is None and not hasattr(subject.model, "module"):
        return  # it has no weights
    names = [file.name for file in published.files] if published else ["weights.safetensors"]
    contents = {
        "absent": None,
        "empty": b"",
        "text": b"This is not a checkpoint.\n" * 50,
        "cut off": b"PK\x03\x04" * 20,
    }
    for what, content in contents.items():
        for name in names if content is not None else ():
            (folder / name).write_bytes(content or b"")
        weights = Weights(tag="local", files={name: folder / name for name in names})
        said = refusal(
            lambda weights=weights: subject.load(weights=weights),  # type: ignore[misc]
            what=f"A weights file of '{subject.name}' that is {what}",
            wanted=WeightsError,
        )
        if not any(name in said for name in names):
            raise PromiseError(f"'{subject.name}' refuses a weights file without naming it: {said}")


@check(of="model", trains=True)
def layers_name_every_parameter_once(subject: ModelSubject, folder: Path) -> None:
    """`layers()` names every parameter of the network in exactly one layer, from input to head."""
    named = [name for layer in subject.model.layers() for name in layer]
    known = [name for name, _ in network(subject.model, name=subject.name).named_parameters()]
    problems = {
        "does not name": sorted(set(known) - set(named)),
        "names, but there is no": sorted(set(named) - set(known)),
        "names more than once": sorted({name for name in named if named.count(name) > 1}),
    }
    for what, names in problems.items():
        if names:
            raise PromiseError(f"layers() of '{subject.name}' {what} {names[0]} ({len(names)} in all).")


@check(of="model", each=False, trains=True)
def saved_model_comes_back(subject: ModelSubject, folder: Path) -> None:
    """A model built again from its `config()`, which is JSON, and its saved weights gives the same results."""
    session = subject.load()
    module = network(session.model, name=subject.name)
    module.load_state_dict(other_weights(module.state_dict()))  # not what an untrained network has anyway
    check_comes_back(subject, session.model, folder / "base.safetensors", what="The model")


def check_comes_back(
    subject: ModelSubject, model: Any, path: Path, *, what: str, does: dict[str, Any] | None = None
) -> None:
    """Save a model, build it again and compare its weights, and its results by the verbs that it has.

    Raises `PromiseError`.
    """
    from omlab.weights import save_state_dict

    module = network(model, name=subject.name)
    try:
        config = json.loads(json.dumps(model.config()))
    except (TypeError, ValueError) as error:
        raise PromiseError(f"config() of '{subject.name}' is not JSON: {error}.") from None
    save_state_dict(module.state_dict(), path)
    try:
        with quiet():
            again = subject.build(config=config, weights=path)
    except OmlabError as error:
        raise PromiseError(
            f"{what} '{subject.name}' cannot be built again from config() and its weights: {error}"
        ) from None
    found = difference(dict(again.module.state_dict()), dict(module.state_dict()), where="its state dict")
    if found:
        raise PromiseError(f"{what} '{subject.name}' has other weights after saving and building again: {found}.")
    held = [subject.held(one, does=does) for one in (model, again)]
    for verb, facts in held[0].card.does.items():
        of_verb = subject.of_verb(verb) if verb in subject.model_card.does else None
        if of_verb is None or of_verb.facts.takes != facts.takes or not facts.deterministic:
            continue
        wanted, given = (of_verb.results(of_verb.cases[:1], session=one, what=f"{what.lower()}") for one in held)
        found = difference(given, wanted, tolerance=ROUNDING, where="what it gives")
        if found:
            raise PromiseError(f"{what} '{subject.name}' is not the same after saving and building again: {found}.")

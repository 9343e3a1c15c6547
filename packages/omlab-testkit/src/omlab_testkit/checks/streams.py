"""Checks of results that come in parts, and of models that answer through an endpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omlab.errors import OmlabError, UsageError, WeightsError
from omlab.roles import Delta
from omlab.weights import resolve
from omlab_testkit.checks import check
from omlab_testkit.checks.odd import refusal
from omlab_testkit.checks.verbs import check_result
from omlab_testkit.compare import ROUNDING, difference
from omlab_testkit.loading import KEY, answering, quiet
from omlab_testkit.outcome import PromiseError
from omlab_testkit.subjects import ModelSubject, VerbSubject


@check(of="verb", streams=True)
def stream_ends_with_the_result(subject: VerbSubject, folder: Path) -> None:
    """The last item of a stream is what the verb gives, and all before it are `Delta`s."""
    for index, case in enumerate(subject.cases):
        items = list(_stream(subject, case))
        if not items or any(not isinstance(item, Delta) for item in items[:-1]):
            kinds = ", ".join(type(item).__name__ for item in items) or "nothing"
            raise PromiseError(f"{subject.what} streams {kinds}: it must be Deltas and then the result.")
        check_result(subject, case, items[-1], what=f"the stream of example {index}")
        if not subject.facts.deterministic:
            continue
        found = difference(items[-1], subject.result(index), tolerance=ROUNDING, where="its last item")
        if found:
            raise PromiseError(f"The stream of {subject.what} ends with another result for example {index}: {found}.")


@check(of="verb", streams=True)
def closing_a_stream_cancels(subject: VerbSubject, folder: Path) -> None:
    """A stream that is closed after its first item ends at once, and the model goes on as if it had not been."""
    case, plain = subject.cases[0], subject.result(0)
    stream = _stream(subject, case)
    next(stream)
    try:
        stream.close()  # type: ignore[attr-defined]  # a session's stream is a generator
    except RuntimeError as error:  # Python's own word for a generator that goes on
        raise PromiseError(f"The stream of {subject.what} does not end when it is closed: {error}.") from error
    again = subject.results([case], what="a call after a closed stream")[0]
    found = difference(again, plain, where="the next result") if subject.facts.deterministic else ""
    if found:
        raise PromiseError(f"{subject.what} does not recover from a closed stream: {found}.")


def _stream(subject: VerbSubject, case: Any) -> Iterator[Any]:
    """The items of a stream. Raises `PromiseError` for what a session refuses."""
    with quiet(), answering(subject.model_card):
        try:
            yield from subject.session.stream(subject.verb, case, **subject.options)
        except OmlabError as error:
            raise PromiseError(f"The stream of {subject.what} is wrong: {error}") from error


@check(of="model", remote=True)
def endpoint_keeps_its_rules(subject: ModelSubject, folder: Path) -> None:
    """A model behind an endpoint is refused offline, asks for its key in one sentence, and shows it nowhere.

    Its verbs are `deterministic = false`: nobody can say what answers there tomorrow.
    """
    card = subject.model_card
    promised = [verb for verb, facts in card.does.items() if facts.deterministic]
    if promised:
        raise PromiseError(f"'{card.name}' answers through an endpoint, but '{promised[0]}' is called deterministic.")
    for tag in card.weights:
        refusal(
            lambda tag=tag: resolve(card, tag, offline=True),  # type: ignore[misc]
            what=f"'{card.name}.{tag}' without a network",
            wanted=WeightsError,
        )
    names = [weights.key_env for weights in card.weights.values() if weights.key_env]
    if not names:
        return
    verb = subject.of_verb(next(iter(card.does)))
    with answering(card):
        shown = json.dumps([subject.session.identity, repr(subject.session), repr(verb.result(0))])
    if KEY in shown:
        raise PromiseError(f"'{card.name}' shows its key in its identity or result.")
    with _without(names), quiet():
        said = verb.session.apply(verb.verb, [verb.cases[0]], **verb.options)[0]
    if not isinstance(said, UsageError) or not any(name in str(said) for name in names):
        raise PromiseError(
            f"'{card.name}' without its key gives {said!r}: it must be a UsageError that names {names[0]}, as "
            "Endpoint.key() raises."
        )


@contextmanager
def _without(names: list[str]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)

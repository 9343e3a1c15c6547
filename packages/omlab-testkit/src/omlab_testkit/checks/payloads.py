"""Checks of kinds: what core, the engine and worker processes ask of a payload."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omlab.payloads import Checked, Compound, Dependent, Facetted, Framed, Payload, Sized, Spatial
from omlab_testkit import examples
from omlab_testkit.checks import check
from omlab_testkit.compare import all_finite, difference
from omlab_testkit.networks import as_sent
from omlab_testkit.outcome import PromiseError
from omlab_testkit.subjects import CardSubject


@check(of="payload")
def payload_is_of_its_kind(subject: CardSubject, folder: Path) -> None:
    """The entry is the class of the kind, and examples and odd ones are such payloads, the same each time."""
    entry = subject.entry
    if not isinstance(entry, type) or getattr(entry, "kind", None) != subject.name:
        raise PromiseError(
            f"The entry of the payload '{subject.name}' must be a class whose `kind` is '{subject.name}'."
        )
    first, second = dict(_payloads(subject)), dict(_payloads(subject))
    for what, payload in first.items():
        if not isinstance(payload, Payload) or payload.kind != subject.name:
            raise PromiseError(
                f"The {what} of the kind '{subject.name}' is a {type(payload).__name__} of another kind."
            )
    found = difference(second, first, where="a second time they are others: it")
    if found:
        raise PromiseError(f"The examples of the kind '{subject.name}' are not the same each time: {found}.")


@check(of="payload")
def payload_can_be_sent(subject: CardSubject, folder: Path) -> None:
    """A payload that is sent to another process arrives as it was."""
    for what, payload in _payloads(subject):
        found = difference(as_sent(payload, what=f"The {what} of the kind '{subject.name}'"), payload, where="it")
        if found:
            raise PromiseError(
                f"The {what} of the kind '{subject.name}' arrives otherwise in another process: {found}."
            )


@check(of="payload")
def payload_tells_the_truth(subject: CardSubject, folder: Path) -> None:
    """What a payload says of itself is so: bytes, finite numbers, its own grid and space, parts, facets."""
    for what, payload in _payloads(subject):
        problem = next(_untruths(payload), "")
        if problem:
            raise PromiseError(f"The {what} of the kind '{subject.name}' {problem}.")


def _untruths(payload: Any) -> Iterator[str]:
    if isinstance(payload, Sized) and (not isinstance(payload.nbytes, int) or payload.nbytes < _bytes(payload)):
        yield f"says that it holds {payload.nbytes!r} bytes, but its arrays hold {_bytes(payload)}"
    if isinstance(payload, Checked) and bool(payload.is_finite()) != all_finite(payload):
        yield f"says is_finite() = {payload.is_finite()}, but its numbers say otherwise"
    if isinstance(payload, Spatial) and payload.same_grid(payload) is not True:
        yield "does not lie on its own grid (same_grid with itself must be True)"
    if isinstance(payload, Framed) and payload.same_frame(payload) is not True:
        yield "does not lie in its own space (same_frame with itself must be True)"
    if isinstance(payload, Compound):
        wrong = [name for name, part in payload.parts().items() if not isinstance(part, Payload)]
        if wrong or not payload.parts():
            yield f"has parts that are no payloads ({', '.join(wrong) or 'none at all'})"
    if isinstance(payload, Facetted):
        facets = payload.facets()
        if not isinstance(facets, frozenset) or not all(isinstance(facet, str) for facet in facets):
            yield f"has the facets {facets!r}: they must be a frozenset of words"
    if isinstance(payload, Dependent):
        payload.check_belongs({})  # without other inputs there is nothing that it could not belong to


def _bytes(payload: Any) -> int:
    """What the arrays that a payload has as its own attributes hold."""
    values = getattr(payload, "__dict__", {}).values()
    return sum(int(value.nbytes) for value in values if hasattr(value, "nbytes") and hasattr(value, "dtype"))


def _payloads(subject: CardSubject) -> Iterator[tuple[str, Any]]:
    """Examples and odd ones, by what they are; none of a kind that has no examples (it is made by models alone)."""
    try:
        plain = subject.examples(subject.name)
    except PromiseError:
        if subject.card.examples or examples.own("examples", subject.name, subject.name, tests=subject.tests) == []:  # type: ignore[attr-defined]
            raise
        plain = []
    yield from ((f"example {number}", payload) for number, payload in enumerate(plain))
    yield from ((f"odd payload '{name}'", payload) for name, payload in subject.odd(subject.name).items())

"""Example cases of a verb: an example payload for each of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omlab.card_schema import Verb
from omlab.payloads import Spatial
from omlab_testkit.outcome import PromiseError

if TYPE_CHECKING:
    from omlab_testkit.subjects import ModelSubject, VerbSubject

PROMPTS = "prompts"
"""The kind of what a user points at: it is made for the other inputs."""


def example_cases(subject: VerbSubject, facts: Verb) -> Sequence[Mapping[str, Any]]:
    """The n-th example of each kind for the n-th case; of a kind that several inputs have each gets another one.

    `inputs(card, verb)` in the package's `tests/examples.py` gives others. Raises `PromiseError`.
    """
    own = subject.own("inputs", subject.verb)
    if own is not None:
        return [dict(case) for case in own]
    kinds = {name: kind for name, kind in facts.kinds.items() if kind != PROMPTS}
    found = {name: subject.examples(kind) for name, kind in kinds.items()}
    count = min((len(payloads) for payloads in found.values()), default=0)
    cases: list[dict[str, Any]] = [{} for _ in range(count)]
    seen: dict[str, int] = {}
    for name, payloads in found.items():
        turn = seen.get(kinds[name], 0)
        seen[kinds[name]] = turn + 1
        for number, case in enumerate(cases):
            case[name] = payloads[(number + turn) % count]
    for number, case in enumerate(cases):
        case.update(prompts_of(subject, facts, case, target=target_of(subject, facts, number)))
    return cases


def target_of(subject: ModelSubject, facts: Verb, number: int) -> Any | None:
    """The example of what a verb gives for case `number`, which tells what may be pointed at; None: there is none."""
    try:
        found = subject.examples(facts.gives)
    except PromiseError:
        return None
    return found[number] if number < len(found) else None


def prompts_of(
    subject: ModelSubject, facts: Verb, case: Mapping[str, Any], *, target: Any | None, space: str = "voxel"
) -> dict[str, Any]:
    """For each input of the kind `prompts`: what is pointed at in the case's first input that lies on a lattice.

    They point at the objects of `target`, or at the middle, in the ways that the card accepts. Raises `PromiseError`.
    """
    names = [name for name, kind in facts.kinds.items() if kind == PROMPTS]
    if not names:
        return {}
    from omlab_prompts.testing import prompts_for

    payload = pointed_at(case)
    if payload is None:
        raise PromiseError(f"'{subject.name}' takes prompts, but no other input of it lies on a lattice in space.")
    on_it = target if isinstance(target, Spatial) and target.same_grid(payload) else None
    every = prompts_for(payload, on_it, space=space)  # type: ignore[arg-type]  # one of its spaces
    return {name: accepted(every, facts.accepts.get(name), card=subject.name) for name in names}


def pointed_at(case: Mapping[str, Any]) -> Any | None:
    """The first input that has an affine, else the first image of two dimensions: the one that prompts are in."""
    placed = (value for value in case.values() if getattr(value, "affine", None) is not None)
    return next(placed, next((value for value in case.values() if is_flat(value)), None))


def is_flat(value: Any) -> bool:
    """Whether it is an image of two dimensions, which is pointed at in pixels."""
    return isinstance(value, Spatial) and len(getattr(value, "shape", ())) == 2


def accepted(prompts: Any, facets: Sequence[str] | None, *, card: str) -> Any:
    """The prompts of the sorts that are taken. Raises `PromiseError` where none is left."""
    if facets is None:
        return prompts
    rest = dict.fromkeys(prompts.facets() - set(facets), ())
    objects = tuple(entry.model_copy(update=rest) for entry in prompts.objects)
    if any(not entry.facets() for entry in objects):
        raise PromiseError(f"There are no example prompts of a sort that '{card}' takes.")
    return prompts.model_copy(update={"objects": objects})

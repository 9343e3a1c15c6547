"""Checks of verbs that take prompts: what is pointed at, wherever and however it is stored and said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omlab.payloads import Telling, keeps
from omlab_testkit import examples
from omlab_testkit.cases import PROMPTS, is_flat, pointed_at, prompts_of, target_of
from omlab_testkit.checks import check
from omlab_testkit.checks.verbs import check_result, parts_of
from omlab_testkit.compare import ROUNDING, Tolerance, as_array, difference, is_array, parts
from omlab_testkit.outcome import CannotCheckError, PromiseError
from omlab_testkit.subjects import VerbSubject

SPACES = ("voxel", "ras")
MOVED = 0.01
"""Share of the labelled entries that another order of summation and resampling may change."""
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_CLICKS = 3


@check(of="verb", takes=PROMPTS)
def prompts_move_with_the_image(subject: VerbSubject, folder: Path) -> None:
    """An input that is moved or stored otherwise, with its prompts, gives the moved result, in voxels and in mm.

    Another origin must change nothing at all; for another order of the axes and content moved by whole voxels one
    in a hundred labelled entries may differ, and with them what is told of the result.
    """
    case, facts = subject.cases[0], subject.facts
    name, payload = _pointed(case)
    geometry = _geometry(payload)
    # All of one input at a time: a model may remember what it computed of its last one, and several motions have one.
    known: dict[tuple[int, int], list[Any]] = {}
    for what, motion in geometry.motions(payload, target_of(subject, facts, 0)).items():
        still = {**case, name: motion.payload}
        said = [prompts_of(subject, facts, still, target=motion.target, space=space) for space in SPACES]
        key = (id(motion.payload), id(motion.target))
        if key not in known:
            known[key] = [subject.results([still | here], what=f"an input before {what}")[0] for here in said]
        for space, here, before in zip(SPACES, said, known[key], strict=True):
            matrix = motion.voxels if space == "voxel" else motion.world
            there = {which: one.moved(matrix, space=one.space, image=one.image) for which, one in here.items()}
            after = {**case, name: motion.moved, **there}
            wanted = motion.result(before)
            got = subject.results([after], what=f"an input with {what}")[0]
            check_result(subject, after, got, what=f"an input with {what}")
            share = 0.0 if motion.exact else MOVED * max(_labelled(got), _labelled(wanted))
            allowed = Tolerance(relative=ROUNDING.relative, labels=share)
            # What is told of a result rests on its entries, some of which may differ.
            passed = frozenset(["source"] if motion.exact else ["source", "facts"])
            found = difference(got, wanted, tolerance=allowed, ignore=passed, where="its result")
            if found:
                raise PromiseError(f"{subject.what} does not follow {what} (prompts in {space}): {found}.")


@check(of="verb", takes=PROMPTS)
def voxels_and_world_say_the_same(subject: VerbSubject, folder: Path) -> None:
    """Prompts in voxels and the same ones in world mm (RAS+, LPS+) give the same result.

    Of an oblique input boxes are compared in RAS+ and LPS+ only: along its voxels they are others.
    """
    for index, case in enumerate(subject.cases):
        for first, second in _pairs(subject, case, index):
            wanted, got = (
                subject.results([{**case, **prompts}], what=f"prompts in {_space(prompts)}")[0]
                for prompts in (first, second)
            )
            found = difference(got, wanted, tolerance=ROUNDING, where="its result")
            if found:
                raise PromiseError(
                    f"{subject.what} takes prompts in {_space(second)} to be elsewhere than in {_space(first)}, for "
                    f"example {index}: {found}."
                )


def _pairs(
    subject: VerbSubject, case: Mapping[str, Any], index: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Prompts that are said in two spaces. Raises `CannotCheckError` where there is one alone."""
    _, payload = _pointed(case)
    if is_flat(payload):
        raise CannotCheckError(f"an input of kind {payload.kind} has no space but its pixels")
    target = target_of(subject, subject.facts, index)
    voxels, world = (prompts_of(subject, subject.facts, case, target=target, space=space) for space in SPACES)
    yield (
        world,
        {name: one.moved(_LPS_TO_RAS, space="lps", image=one.image) for name, one in world.items()},  # its own inverse
    )
    geometry = examples.motions(payload.kind)
    if geometry is None or geometry.boxes_agree(payload):
        yield voxels, world
        return
    kinds = {facet for one in voxels.values() for entry in one.objects for facet in entry.facets()}
    if kinds - {"boxes"}:
        yield _without_boxes(voxels), _without_boxes(world)


def _space(prompts: Mapping[str, Any]) -> str:
    return str(next(iter(prompts.values())).space)


def _without_boxes(prompts: Mapping[str, Any]) -> dict[str, Any]:
    def bare(one: Any) -> Any:
        objects = tuple(entry.model_copy(update={"boxes": ()}) for entry in one.objects)
        return one.model_copy(update={"objects": objects})

    return {name: bare(one) for name, one in prompts.items()}


@check(of="verb", gives="simulation")
def simulated_clicks_can_be_repeated(subject: VerbSubject, folder: Path) -> None:
    """Simulated clicks have their rows, one for each click, and give the same prediction when given as prompts."""
    taking = [
        verb
        for verb, facts in subject.model_card.does.items()
        if PROMPTS in facts.kinds.values() and "points" in facts.accepts.get(_prompts_input(facts.kinds), ["points"])
    ]
    for index, case in enumerate(subject.cases):
        given: dict[str, Any] = {"clicks": _CLICKS} if "clicks" in subject.facts.options else {}
        done = subject.results([case], what=f"example {index}", **given)[0]
        found = parts_of(done)
        _check_rows(subject, found["prompts"], found["clicks"], clicks=_CLICKS if given else None)
        for verb in taking:
            other = subject.of_verb(verb)
            if other.facts.gives != found["prediction"].kind:
                continue
            names = {name for name, kind in other.facts.kinds.items() if kind == PROMPTS}
            inputs = {name: value for name, value in case.items() if name in other.facts.takes and name not in names}
            replayed = other.results([{**inputs, **dict.fromkeys(names, found["prompts"])}], what="simulated clicks")[0]
            ours, theirs = _without_gate(replayed), _without_gate(found["prediction"])
            problem = difference(ours, theirs, tolerance=ROUNDING, where="the prediction")
            if problem:
                raise PromiseError(
                    f"The simulated clicks of '{subject.name}', given as prompts to {verb}, come to another: {problem}."
                )


def _without_gate(result: Any) -> Any:
    """A result without what the gate found, which looks at one verb's inputs and perhaps not at another's."""
    if not keeps(result, Telling):
        return result
    return result.telling({name: told for name, told in result.tells().items() if name != "gate"})


def _prompts_input(kinds: Mapping[str, str]) -> str:
    return next(name for name, kind in kinds.items() if kind == PROMPTS)


def _check_rows(subject: VerbSubject, prompts: Any, scores: Any, *, clicks: int | None) -> None:
    names = [entry.name for entry in prompts.objects]
    stray = sorted({row["object"] for row in scores.rows} - set(names))
    if stray:
        raise PromiseError(
            f"A row of simulated clicks of '{subject.name}' is of '{stray[0]}', which is not clicked at."
        )
    for entry in prompts.objects:
        rounds = sorted(row["round"] for row in scores.rows if row["object"] == entry.name)
        count = clicks if clicks is not None else len(rounds)
        if rounds != list(range(1, count + 1)) or len(entry.points) != count:
            raise PromiseError(
                f"Of {count} simulated clicks '{subject.name}' comes back with {len(entry.points)} clicks for "
                f"'{entry.name}', whose rounds are {rounds}."
            )


def _pointed(case: Mapping[str, Any]) -> tuple[str, Any]:
    payload = pointed_at(case)
    return next((name, value) for name, value in case.items() if value is payload)


def _geometry(payload: Any) -> examples.Motions:
    found = examples.motions(payload.kind)
    if found is None:
        raise CannotCheckError(
            f"nobody says how a {payload.kind} is moved: the package of that kind may, in the entry-point group "
            f"{examples.MOTIONS_GROUP}"
        )
    return found


def _labelled(value: Any) -> float:
    """The largest share of entries that are not zero in an array of whole numbers."""
    if is_array(value):
        array = as_array(value)
        return float((array != 0).mean()) if array.dtype.kind in "biu" and array.size else 0.0
    inner = None if isinstance(value, str | bytes | int | float | None) else parts(value)
    return max((_labelled(item) for item in inner.values()), default=0.0) if inner else 0.0

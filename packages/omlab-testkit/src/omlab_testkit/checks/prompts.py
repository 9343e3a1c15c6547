"""Checks of models that take prompts: what is pointed at, wherever and however it is stored and said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omlab.card_schema import PROMPT_KINDS
from omlab.errors import GeometryError, UsageError
from omlab.prompts import Box, Mask, Object, Point, Position, Prompts, Space
from omlab.roles import Simulated
from omlab_testkit.checks import check
from omlab_testkit.checks.errors import refusal
from omlab_testkit.checks.predict import check_prediction
from omlab_testkit.compare import ROUNDING, Tolerance, as_array, difference, is_array, parts
from omlab_testkit.kit import ModelSubject, predict
from omlab_testkit.outcome import PromiseError

SPACES: tuple[Space, ...] = ("voxel", "ras")
MOVED = 0.01
"""Share of the labelled entries that another order of summation and resampling may change."""
_FAR = 1e6
_CLICKS = 3


@check(of="model", capability=PROMPT_KINDS)
def prompts_move_with_the_image(subject: ModelSubject, folder: Path) -> None:
    """An input that is moved or stored otherwise, with its prompts, gives the moved prediction, in voxels and in mm.

    Another origin must change nothing at all; for another order of the axes and content moved by whole voxels one
    in a hundred labelled entries may differ.
    """
    payload, target = subject.inputs[0], subject.examples(subject.model_card.gives)[0]
    for what, motion in subject.prompt_examples.motions(payload, target).items():
        for space in SPACES:
            prompts = subject.prompts(motion.payload, target=motion.target, space=space)
            wanted = motion.prediction(predict(subject.model, motion.payload, prompts=prompts))
            got = predict(subject.model, motion.moved, prompts=motion.prompts(prompts))
            check_prediction(subject, motion.moved, got, what=f"an input with {what}")
            share = 0.0 if motion.exact else MOVED * max(_labelled(got), _labelled(wanted))
            allowed = Tolerance(relative=ROUNDING.relative, labels=share)
            found = difference(got, wanted, tolerance=allowed, ignore=frozenset(["source"]), where="its prediction")
            if found:
                raise PromiseError(f"'{subject.name}' does not follow {what} (prompts in {space}): {found}.")


@check(of="model", capability=PROMPT_KINDS)
def voxels_and_world_say_the_same(subject: ModelSubject, folder: Path) -> None:
    """Prompts in voxels and the same ones in world mm (RAS+, LPS+) give the same prediction.

    Of an oblique input boxes are compared in RAS+ and LPS+ only: along its voxels they are others.
    """
    for index, payload in enumerate(subject.inputs):
        voxels, world = (subject.prompts(payload, space=space) for space in SPACES)
        pairs = [(world, _as_lps(world))]
        if subject.prompt_examples.boxes_agree(payload):
            pairs.append((voxels, world))
        elif all(entry.kinds - {"boxes"} for entry in voxels.objects):
            pairs.append((_without_boxes(voxels), _without_boxes(world)))
        for first, second in pairs:
            wanted, got = (predict(subject.model, payload, prompts=prompts) for prompts in (first, second))
            found = difference(got, wanted, tolerance=ROUNDING, where="its prediction")
            if found:
                raise PromiseError(
                    f"'{subject.name}' takes prompts in {second.space} to be elsewhere than in {first.space}, for "
                    f"example {index}: {found}."
                )


@check(of="model", capability=PROMPT_KINDS)
def wrong_prompts_are_refused(subject: ModelSubject, folder: Path) -> None:
    """Prompts of a kind not taken are a `UsageError`; those outside the input or of another one a `GeometryError`."""
    payload = subject.prompt_examples.named(subject.inputs[0], "example")
    for kind, wrong in _of_other_kinds(subject, payload):
        refusal(
            lambda wrong=wrong: predict(subject.model, payload, prompts=wrong),  # type: ignore[misc]
            what=f"A prompt of the kind {kind}, which '{subject.name}' does not take,",
            wanted=UsageError,
        )
    for space in SPACES:
        far = _shifted(subject.prompts(payload, space=space))
        if far.kinds & {"points", "boxes"}:
            refusal(
                lambda far=far: predict(subject.model, payload, prompts=far),  # type: ignore[misc]
                what=f"A prompt outside the input of '{subject.name}' (in {space})",
                wanted=GeometryError,
            )
    other = subject.prompts(payload).model_copy(update={"image": "another-image"})
    refusal(
        lambda: predict(subject.model, payload, prompts=other),
        what=f"A prompt in voxels of another image than the input of '{subject.name}'",
        wanted=GeometryError,
    )


@check(of="model", capability=PROMPT_KINDS)
def missing_prompts_are_refused(subject: ModelSubject, folder: Path) -> None:
    """Where the card says `needs_prompts`, predicting without any is a `UsageError`; else it gives a prediction."""
    payload = subject.inputs[0]
    if subject.model_card.needs_prompts:
        what = f"Predicting with '{subject.name}' without prompts"
        refusal(lambda: predict(subject.model, payload), what=what, wanted=UsageError)
        return
    check_prediction(subject, payload, predict(subject.model, payload), what="an example without prompts")


@check(of="model", capability="simulate")
def simulated_clicks_can_be_repeated(subject: ModelSubject, folder: Path) -> None:
    """Simulated clicks have their rows, are the same for the same seed, and give the same prediction as prompts."""
    targets = subject.examples(subject.model_card.gives)
    for index, (payload, target) in enumerate(zip(subject.inputs, targets, strict=True)):
        done = subject.model.simulate(payload, target, clicks=_CLICKS, seed=3)
        check_prediction(subject, payload, done.prediction, what=f"simulated clicks in example {index}")
        _check_rows(subject, done)
        again = subject.model.simulate(payload, target, clicks=_CLICKS, seed=3)
        found = difference(
            [again.prompts.model_dump(), list(again.rows), again.prediction],
            [done.prompts.model_dump(), list(done.rows), done.prediction],
            where="what comes of them",
        )
        if found:
            raise PromiseError(f"The simulated clicks of '{subject.name}' are others for the same seed: {found}.")
        replayed = predict(subject.model, payload, prompts=done.prompts)
        found = difference(replayed, done.prediction, tolerance=ROUNDING, where="the prediction")
        if found:
            raise PromiseError(f"The simulated clicks of '{subject.name}', given as prompts, come to another: {found}.")


def _check_rows(subject: ModelSubject, done: Simulated) -> None:
    names = [entry.name for entry in done.prompts.objects]
    for row in done.rows:
        dice = row.get("dice")
        if not {"object", "round", "dice"} <= set(row) or row["object"] not in names:
            raise PromiseError(
                f"A row of simulated clicks of '{subject.name}' is {dict(row)}: see omlab.roles.Simulated."
            )
        if dice is not None and not 0 <= float(dice) <= 1:
            raise PromiseError(f"A row of simulated clicks of '{subject.name}' has the Dice {dice}.")
    for entry in done.prompts.objects:
        rounds = sorted(row["round"] for row in done.rows if row["object"] == entry.name)
        if rounds != list(range(1, _CLICKS + 1)) or len(entry.points) != _CLICKS:
            raise PromiseError(
                f"Of {_CLICKS} simulated clicks '{subject.name}' comes back with {len(entry.points)} clicks for "
                f"'{entry.name}', whose rounds are {rounds}."
            )


def _of_other_kinds(subject: ModelSubject, payload: Any) -> Iterator[tuple[str, Prompts]]:
    """For each kind that the model does not take, prompts of it alone."""
    known = subject.prompt_examples.prompts(payload, None, space="voxel")
    first = known.objects[0]
    every = {
        "points": first.points,
        "boxes": first.boxes,
        "masks": (Mask(file="mask.nii.gz"),),
        "text": ("what is to be found",),
    }
    for kind in sorted(set(PROMPT_KINDS) - subject.prompt_kinds):
        if every[kind]:
            entry = Object.model_validate({"name": first.name, kind: every[kind]})
            yield kind, known.model_copy(update={"objects": (entry,)})


def _as_lps(prompts: Prompts) -> Prompts:
    def swapped(at: Position) -> Position:
        return (-at[0], -at[1], at[2])

    def box(box: Box) -> Box:
        (a, b, c), (d, e, f) = swapped(box.near), swapped(box.far)
        return Box(near=(d, e, c), far=(a, b, f))

    return _mapped(prompts, point=swapped, box=box).model_copy(update={"space": "lps"})


def _without_boxes(prompts: Prompts) -> Prompts:
    objects = tuple(entry.model_copy(update={"boxes": ()}) for entry in prompts.objects)
    return prompts.model_copy(update={"objects": objects})


def _shifted(prompts: Prompts) -> Prompts:
    def far(at: Position) -> Position:
        return (at[0] + _FAR, at[1], at[2])

    return _mapped(prompts, point=far, box=lambda box: Box(near=far(box.near), far=far(box.far)))


def _mapped(prompts: Prompts, *, point: Any, box: Any) -> Prompts:
    objects = tuple(
        entry.model_copy(
            update={
                "points": tuple(Point(at=point(one.at), label=one.label) for one in entry.points),
                "boxes": tuple(box(one) for one in entry.boxes),
            }
        )
        for entry in prompts.objects
    )
    return prompts.model_copy(update={"objects": objects})


def _labelled(value: Any) -> float:
    """The largest share of entries that are not zero in an array of whole numbers."""
    if is_array(value):
        array = as_array(value)
        return float((array != 0).mean()) if array.dtype.kind in "biu" and array.size else 0.0
    inner = None if isinstance(value, str | bytes | int | float | None) else parts(value)
    return max((_labelled(item) for item in inner.values()), default=0.0) if inner else 0.0

"""What probes learn from: the embeddings of an episode's cases from the feature store, and their targets as a matrix.

Nothing here looks at a split but `train` and, where it is asked for, `val`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omlab import cases_for, features
from omlab.cases import Source
from omlab.errors import OmlabError, TrainingError
from omlab.payloads import describe
from omlab.roles import Case, Dataset
from omlab.session import Session
from omlab_adapters.groups import group_of
from omlab_payloads.classes import Classes
from omlab_payloads.embeddings import open_embeddings
from omlab_payloads.scores import Scores

VERB = "embed"
TRAIN, VAL = "train", "val"

Matrix = NDArray[np.float32]
Floats = NDArray[np.float64]
Form = Literal["one", "several", "scores"]
"""Of the targets: one class a case, each class by itself, or named numbers."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """The cases of an episode.

    Attributes:
        form: Of the targets.
        names: Of the classes or numbers (K).
        vectors: Embeddings, (N, D).
        targets: (N, K): 1 where a case is of a class, 0 where not, NaN where nobody says; or the numbers.
        groups: For each case whose it is.
        train: How many cases are of the split `train`; those of `val` come after them.
        units: Of the numbers, where known.
    """

    form: Form
    names: tuple[str, ...]
    vectors: Matrix
    targets: Floats
    groups: tuple[str, ...]
    train: int
    units: Mapping[str, str] = field(default_factory=dict)


def read_lessons(
    session: Session, episodes: Sequence[Dataset], *, with_val: bool, folder: Path
) -> list[Lesson | OmlabError]:
    """The lessons of episodes of one data set; each case is embedded once, in the feature store `folder`.

    An episode that cannot be learned from gives an error that says why in its place.

    Raises:
        OmlabError: A case cannot be embedded, or its target not be read.
    """
    lists: list[list[list[Case]] | OmlabError] = [_cases(session, episode, with_val=with_val) for episode in episodes]
    union = {
        case.id: case for splits in lists if not isinstance(splits, OmlabError) for part in splits for case in part
    }
    if not union:
        return [found if isinstance(found, OmlabError) else TrainingError("There is no case.") for found in lists]
    targets = {id: _target(case) for id, case in union.items()}
    shapes: list[_Shape | OmlabError] = []
    for episode, splits in zip(episodes, lists, strict=True):
        shapes.append(splits if isinstance(splits, OmlabError) else _shape(episode, splits, targets))
    if all(isinstance(shape, OmlabError) for shape in shapes):
        return [shape for shape in shapes if isinstance(shape, OmlabError)]
    ids, matrix = open_embeddings(features(session, VERB, list(union.values()), folder=folder))
    places = {id: row for row, id in enumerate(ids)}
    lessons: list[Lesson | OmlabError] = []
    for splits, shape in zip(lists, shapes, strict=True):
        if isinstance(splits, OmlabError) or isinstance(shape, OmlabError):
            lessons.append(shape if isinstance(shape, OmlabError) else TrainingError("There is no case."))
            continue
        cases = [case for part in splits for case in part]
        lessons.append(
            Lesson(
                form=shape.form,
                names=shape.names,
                units=shape.units,
                vectors=np.array(matrix[[places[case.id] for case in cases]], dtype=np.float32),
                targets=np.stack([_row(shape, targets[case.id]) for case in cases]),
                groups=tuple(map(group_of, cases)),
                train=len(splits[0]),
            )
        )
    return lessons


def check_two_sides(lesson: Lesson) -> None:
    """Raise `TrainingError` where no class can be told from the others, or no number is known."""
    known = lesson.targets[: lesson.train]
    present, absent = (known == 1).any(axis=0), (known == 0).any(axis=0)
    if lesson.form == "scores":
        if not np.isfinite(known).any():
            raise TrainingError("No training case has a number to learn.")
    elif lesson.form == "one" and present.sum() < 2:
        only = next((name for name, there in zip(lesson.names, present, strict=True) if there), "")
        raise TrainingError(f"All training cases are '{only}': a probe needs two classes.")
    elif lesson.form == "several" and not (present & absent).any():
        raise TrainingError("No class has both training cases that are of it and others: a probe needs such a class.")


@dataclass(frozen=True, kw_only=True)
class _Shape:
    form: Form
    names: tuple[str, ...]
    units: Mapping[str, str]


def _cases(session: Session, episode: Dataset, *, with_val: bool) -> list[list[Case]] | OmlabError:
    """The cases of `train`, and of `val` where that is asked for."""
    try:
        if with_val and VAL not in episode.splits():
            raise TrainingError(f"select=val needs a split 'val', but there are {', '.join(episode.splits())}.")
        found = [list(cases_for(session, VERB, episode, split)) for split in ([TRAIN, VAL] if with_val else [TRAIN])]
    except OmlabError as error:
        return error
    return found if found[0] else TrainingError("There is no training case.")


def _target(case: Case) -> Any:
    """What is right for a case: what its list says (`label`), what its target holds, else what reading it all gives."""
    label = getattr(case, "label", None)
    if isinstance(label, str):
        return label
    source = getattr(case, "target", None)
    target: Any = source.read() if isinstance(source, Source) else case.load().target
    if not isinstance(target, Classes | Scores):
        what = "no target" if target is None else f"a {describe(target)} as target"
        raise TrainingError(f"Case '{case.id}' has {what}: a probe learns classes or scores.")
    return target


def _form(target: Any) -> Form:
    if isinstance(target, Scores):
        return "scores"
    return "several" if isinstance(target, Classes) and target.threshold is not None else "one"


def _shape(episode: Dataset, splits: Sequence[Sequence[Case]], targets: Mapping[str, Any]) -> _Shape | OmlabError:
    """Form and names of the targets of the training cases; the cases of `val` may not be of another form."""
    forms: dict[Form, str] = {}
    for part in splits:
        for case in part:
            forms.setdefault(_form(targets[case.id]), case.id)
    if len(forms) > 1:
        (one, first), (other, second) = list(forms.items())[:2]
        return TrainingError(
            f"The target of case '{first}' has the form '{one}', that of '{second}' the form '{other}': let all say "
            "that one class is right, all of each class whether it is, or all give numbers."
        )
    form = next(iter(forms))
    trained = [targets[case.id] for case in splits[0]]
    try:
        names = dict.fromkeys(name for target in trained for name in _names(target))
    except TrainingError as error:
        return error
    if form == "scores":
        units = {name: unit for target in reversed(trained) for name, unit in target.units.items()}
        return _Shape(form=form, names=tuple(names), units=units)
    about = episode.about(TRAIN)
    declared = [about.classes[value] for value in sorted(about.classes)]
    rest = sorted(set(names) - set(declared)) if form == "one" else [name for name in names if name not in declared]
    return _Shape(form=form, names=(*declared, *rest), units={})


def _names(target: Any) -> Sequence[str]:
    """The names that a target knows of: of one class that is right, that class alone."""
    if isinstance(target, str):
        return [target]
    if isinstance(target, Scores):
        return list(target.values)
    if target.threshold is not None:
        return list(target.names)
    if len(target.predicted) != 1:
        raise TrainingError("A training case has no single class to learn from: all its probabilities are NaN.")
    return list(target.predicted)


def _row(shape: _Shape, target: Any) -> Floats:
    """A target as numbers by name, (K,)."""
    place = {name: n for n, name in enumerate(shape.names)}
    if shape.form == "one":
        row = np.zeros(len(place))
        row[[place[name] for name in _names(target) if name in place]] = 1.0
        return row
    row = np.full(len(place), np.nan)
    if isinstance(target, Scores):
        said = {name: value for name, value in target.values.items() if np.isfinite(value)}
    else:
        right = target.predicted
        known = zip(target.names, target.probabilities, strict=True)
        said = {name: float(name in right) for name, value in known if value == value}
    for name, value in said.items():
        if name in place:
            row[place[name]] = value
    return row

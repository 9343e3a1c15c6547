"""Names, colours and codes of label values: defaults for what has none, and the JSON that files carry."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError, OmlabWarning
from omlab_payloads.colours import default_colour as default_colour  # what names labels finds it here
from omlab_payloads.names import name_key
from omlab_volume.geometry import Grid

JSON_KEY = "omlab_labels"
HIGHEST_LABEL = 65535


@dataclass(frozen=True, kw_only=True)
class Code:
    """A coded concept, such as SNOMED CT's (`scheme` "SCT")."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Label:
    """One class of a label map: its voxel `value`, `name`, `colour` (R, G, B) and code where known."""

    value: int
    name: str
    colour: tuple[int, int, int] | None = None
    code: Code | None = None


class Labelled(Protocol):
    """One class per voxel of a grid: what a `LabelMap` is to those who only look at it."""

    @property
    def array(self) -> NDArray[Any]:
        """Values (I, J, K), 0 the background."""
        ...

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        ...

    @property
    def labels(self) -> Sequence[Label]:
        """The classes that have a name."""
        ...


def labels_from_names(names: Sequence[str]) -> list[Label]:
    """Labels 1, 2, ... with these names and the default colours; the background has no label."""
    return [Label(value=value, name=name, colour=default_colour(value)) for value, name in enumerate(names, start=1)]


def labels_named(labels: Sequence[Label], names: Mapping[int, str]) -> list[Label]:
    """Labels with these names for their values; colours and codes of a value that had a label stay."""
    known = {label.value: label for label in labels}
    return [
        replace(known.get(value, Label(value=value, name=name, colour=default_colour(value))), name=name)
        for value, name in sorted(names.items())
    ]


def complete_labels(labelmap: Labelled, *, present_only: bool = False) -> list[Label]:
    """A label with a colour for every value in the map's `labels` and voxels, by value.

    With `present_only`, only those that some voxel has.
    """
    present = present_values(labelmap.array)
    known = {label.value: label for label in labelmap.labels if label.value != 0}
    values = present if present_only else present | set(known)
    return [_completed(known.get(value), value) for value in sorted(values)]


def present_values(array: NDArray[Any]) -> set[int]:
    """The values of unsigned integers that occur, but 0."""
    flat = array.ravel(order="K")  # as it lies in memory
    changes = flat[1:] != flat[:-1]  # neighbours are mostly alike: only where they are not a value can be new
    return {int(value) for value in np.unique(np.concatenate([flat[:1], flat[1:][changes]]))} - {0}


def voxel_counts(array: NDArray[Any], *, least: int = 0) -> NDArray[np.int64]:
    """How many voxels have the value 0, 1, ..., at least `least` counts; plane by plane, as counting takes memory."""
    counts = np.zeros(max(int(array.max(initial=0)) + 1, least), np.int64)
    for plane in array:
        part = np.bincount(plane.ravel())
        counts[: len(part)] += part
    return counts


def same_classes(labelmap: Labelled, *, as_in: Labelled) -> NDArray[Any]:
    """The array of `labelmap` with each class under its value in `as_in`; 0 for classes that are not there.

    Classes are matched by name where both maps have names (case, spaces, hyphens and underscores do not count), else
    by value. Where `as_in` has no names, its classes are the values that occur in it.
    """
    ours, theirs = (
        {name_key(label.name): label.value for label in one.labels if label.value != 0} for one in (labelmap, as_in)
    )
    if ours and theirs:
        pairs = {value: theirs[name] for name, value in ours.items() if name in theirs}
    else:
        pairs = {value: value for value in (set(theirs.values()) or present_values(as_in.array))}
    table = np.zeros(max([int(labelmap.array.max(initial=0)), *pairs]) + 1, dtype=as_in.array.dtype)
    for value, other in pairs.items():
        table[value] = other
    return np.asarray(table[labelmap.array])


def _completed(label: Label | None, value: int) -> Label:
    if label is None:
        return Label(value=value, name=f"label {value}", colour=default_colour(value))
    if label.colour is not None:
        return label
    return Label(value=value, name=label.name, colour=default_colour(value), code=label.code)


def smallest_unsigned(array: np.ndarray[Any, Any], *, what: str) -> np.ndarray[Any, Any]:
    """Label values as uint8 or, where they need it, uint16.

    Raises `InputError`, which names `what`, for values that are not whole, negative, not finite or above 65535.
    """
    if array.size and array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise InputError(f"{what} holds NaN or infinite values, but a label map has a whole number in every voxel.")
        if np.abs(array - np.rint(array)).max() > 1e-4:  # what is left after a header's scale is rounding
            raise InputError(
                f"{what} holds fractional values (from {array.min():g} to {array.max():g}), but a label map has "
                f"a whole number in every voxel: is it an image or a probability map?"
            )
        array = np.rint(array)
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if low < 0:
        raise InputError(f"{what} holds negative values (down to {low:g}), but labels are 0 and above: is it an image?")
    if high > HIGHEST_LABEL:
        raise InputError(f"{what} holds values up to {high:g}, but labels go to {HIGHEST_LABEL}: is it an image?")
    return array.astype(np.uint8 if high < 256 else np.uint16)


def labels_to_json(labels: Sequence[Label]) -> str:
    """Labels as the JSON text that a file's header carries."""
    rows = []
    for label in labels:
        row: dict[str, Any] = {"value": label.value, "name": label.name}
        if label.colour is not None:
            row["colour"] = list(label.colour)
        if label.code is not None:
            row["code"] = [label.code.value, label.code.scheme, label.code.meaning]
        rows.append(row)
    return json.dumps({JSON_KEY: rows})


def labels_from_json(text: str, *, what: str) -> tuple[Label, ...]:
    """The labels in such a text; none where it is another text, since a header may hold anything.

    Labels that are not as `labels_to_json` writes them are left out with an `OmlabWarning` that names `what`.
    """
    try:
        found = json.loads(text.strip("\x00 \n"))
    except (ValueError, RecursionError):
        return ()
    if not isinstance(found, dict) or JSON_KEY not in found:
        return ()
    try:
        return tuple(_label(row) for row in found[JSON_KEY])
    except (ValueError, TypeError, KeyError):
        warnings.warn(f"{what}: its names of labels are damaged and left out.", OmlabWarning, stacklevel=3)
        return ()


def _label(row: Any) -> Label:
    """The label of a row. Raises `ValueError`, `TypeError` or `KeyError` where it is none."""
    value, name = row["value"], row["name"]
    if type(value) is not int or not 0 <= value <= HIGHEST_LABEL or not isinstance(name, str):
        raise ValueError
    colour = code = None
    if row.get("colour") is not None:
        red, green, blue = row["colour"]
        if any(type(part) is not int or not 0 <= part <= 255 for part in (red, green, blue)):
            raise ValueError
        colour = (red, green, blue)
    if row.get("code") is not None:
        concept, scheme, meaning = row["code"]
        if not all(isinstance(part, str) for part in (concept, scheme, meaning)):
            raise ValueError
        code = Code(value=concept, scheme=scheme, meaning=meaning)
    return Label(value=value, name=name, colour=colour, code=code)

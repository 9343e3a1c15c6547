"""Prompts: what a user points at in an image; points, boxes, masks and text for one object or several.

Coordinates always say their space: voxels (i, j, k) of a named image, voxel centres whole, or world positions in
mm, RAS+ or LPS+. A prompts file is JSON (`json_schema()` describes it), or a markups file of 3D Slicer:

    {"version": 1, "space": "voxel", "image": "ct.nii.gz", "objects": [
      {"name": "liver", "points": [{"at": [120, 88, 40]}, {"at": [90, 88, 40], "label": 0}]}]}

Arithmetic on the few numbers here is plain Python: importing this needs no numpy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from omlab.errors import GeometryError, InputError, UsageError
from omlab.files import write_json, writing

Space = Literal["voxel", "ras", "lps"]
Kind = Literal["points", "boxes", "masks", "text"]
Affine = Sequence[Sequence[float]]
"""4 rows of 4: voxel centres (i, j, k, 1) to world mm, RAS+; a numpy array will do."""

Coordinate = Annotated[float, Field(allow_inf_nan=False)]
Position = tuple[Coordinate, Coordinate, Coordinate]


def _relative(file: str) -> str:
    if Path(file).is_absolute() or ".." in Path(file).parts:
        raise ValueError(f"'{file}' must lie in the folder of the prompts file or below it")
    return file


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(_Strict):
    """A click: `label` 1 in the object, 0 outside it."""

    at: Position
    label: Literal[0, 1] = 1


class Box(_Strict):
    """A box along the axes of its space, by two opposite corners; `near` holds the smaller numbers."""

    near: Position
    far: Position

    @model_validator(mode="after")
    def _is_ordered(self) -> Box:
        if any(a > b for a, b in zip(self.near, self.far, strict=True)):
            raise ValueError(f"near {list(self.near)} lies beyond far {list(self.far)}: no number of it may be larger")
        return self


class Mask(_Strict):
    """A rough mask: where the label map `file` (relative to the prompts file) has the label `value`."""

    file: Annotated[str, StringConstraints(min_length=1), AfterValidator(_relative)]
    value: Annotated[int, Field(ge=1)] = 1


class Object(_Strict):
    """The prompts of one object. Points are in the order in which they were set: models may take them in rounds."""

    name: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()
    masks: tuple[Mask, ...] = ()
    text: tuple[Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)], ...] = ()

    @model_validator(mode="after")
    def _is_prompted(self) -> Object:
        if not self.kinds:
            raise ValueError(f"'{self.name}' has no prompt: give points, boxes, masks or text")
        return self

    @property
    def kinds(self) -> frozenset[Kind]:
        """Which kinds of prompts it has."""
        kinds: tuple[Kind, ...] = ("points", "boxes", "masks", "text")
        return frozenset(kind for kind in kinds if getattr(self, kind))


class Prompts(_Strict):
    """What a user points at: the payload `prompts`."""

    kind: ClassVar[str] = "prompts"

    version: Literal[1] = 1
    space: Space
    image: Annotated[str, StringConstraints(min_length=1)] | None = None
    """Name of the image's file. Voxels mean nothing without it; for world positions it may be absent."""
    objects: Annotated[tuple[Object, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_consistent(self) -> Prompts:
        if self.space == "voxel" and self.image is None:
            raise ValueError("voxels are those of an image: give 'image', the name of its file")
        names = [entry.name for entry in self.objects]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two objects are called '{twice}'")
        return self

    @property
    def kinds(self) -> frozenset[Kind]:
        """Which kinds of prompts there are."""
        return frozenset(kind for entry in self.objects for kind in entry.kinds)

    def require(self, capabilities: Iterable[str], *, model: str) -> None:
        """Raise `UsageError` where there is a kind of prompt that is not among a model's capabilities."""
        able = sorted({"points", "boxes", "masks", "text"} & set(capabilities))
        for entry in self.objects:
            for kind in sorted(entry.kinds - set(able)):
                takes = f"it takes {', '.join(able)}" if able else "it takes no prompts"
                raise UsageError(f"'{entry.name}' is prompted by {kind}, which {model} does not take: {takes}.")

    def in_world(self, affine: Affine | None = None) -> Prompts:
        """The same prompts in world mm, RAS+.

        Args:
            affine: Of the image that voxels refer to; not needed for world positions.

        Raises:
            GeometryError: Voxels without an affine, or a singular affine.
        """
        if self.space == "ras":
            return self
        if self.space == "lps":
            return self._moved(
                [[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], space="ras", image=self.image
            )
        if affine is None:
            raise GeometryError(f"The prompts are voxels of {self.image}: its affine is needed to place them in space.")
        _inverse(affine)  # what could not be undone is no place
        return self._moved(affine, space="ras", image=self.image)

    def in_voxels(self, affine: Affine, *, shape: Sequence[int], image: str) -> Prompts:
        """The same prompts in voxels of one image, checked to lie in it.

        A box that is oblique to the voxels becomes the box around it.

        Args:
            affine: Of the image.
            shape: (I, J, K) of the image.
            image: Name of the image's file, compared without its folder.

        Raises:
            GeometryError: Voxels of another image, a position outside this one, or a singular affine.
        """
        if self.space == "voxel":
            if Path(str(self.image)).name != Path(image).name:
                raise GeometryError(
                    f"The prompts are voxels of {self.image}, not of {image}: give them in world coordinates, "
                    "or name the image that they belong to."
                )
            found = self
        else:
            found = self.in_world()._moved(_inverse(affine), space="voxel", image=image)
        for entry in found.objects:
            corners = [corner for box in entry.boxes for corner in (box.near, box.far)]
            for at in (*(point.at for point in entry.points), *corners):
                # a voxel reaches half its size beyond its centre
                if any(not -0.5 <= x <= n - 0.5 for x, n in zip(at, shape, strict=True)):
                    place = ", ".join(f"{x:.1f}" for x in at)
                    raise GeometryError(
                        f"A prompt of '{entry.name}' lies outside {image}: voxel ({place}) of a grid of "
                        f"{' x '.join(map(str, shape))}; check the space '{self.space}' of the prompts."
                    )
        return found

    def _moved(self, matrix: Affine, *, space: Space, image: str | None) -> Prompts:
        objects = tuple(
            entry.model_copy(
                update={
                    "points": tuple(Point(at=_apply(matrix, p.at), label=p.label) for p in entry.points),
                    "boxes": tuple(_around(_apply(matrix, corner) for corner in _corners(box)) for box in entry.boxes),
                }
            )
            for entry in self.objects
        )
        return Prompts(space=space, image=image, objects=objects)


def read(path: Path) -> Prompts:
    """Read a prompts file, or a markups file of 3D Slicer (`.mrk.json`).

    Raises `InputError` with one sentence that names the file and the entry.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"There is no prompts file {path}.") from error
    except OSError as error:
        raise InputError(f"The prompts file {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); prompts are JSON or a markups file of 3D Slicer.") from error
    if isinstance(content, dict) and "markups" in content:
        from omlab_prompts.slicer_markups import objects_of

        content = {"space": "ras", "objects": objects_of(content["markups"], path=Path(path))}
    if not isinstance(content, dict):
        raise InputError(f"{path} does not hold prompts but a {type(content).__name__}: see omlab_prompts.prompts.")
    try:
        return Prompts.model_validate(content)
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(map(str, found["loc"]))
        said = "there are none" if found["type"] == "too_short" else found["msg"].removeprefix("Value error, ")
        raise InputError(f"{path} is no prompts file: {f'{where}: ' if where else ''}{said}.") from error


def write(prompts: Prompts, path: Path) -> None:
    """Write a prompts file, whole or not at all. Raises `OutputError`."""
    with writing("The prompts", Path(path)):
        write_json(Path(path), prompts.model_dump(mode="json", exclude_defaults=True) | {"version": prompts.version})


def json_schema() -> dict[str, Any]:
    """JSON Schema of a prompts file."""
    return Prompts.model_json_schema()


def _apply(matrix: Affine, at: Sequence[float]) -> Position:
    x, y, z = (sum(float(row[n]) * at[n] for n in range(3)) + float(row[3]) for row in list(matrix)[:3])
    return (x, y, z)


def _inverse(affine: Affine) -> list[list[float]]:
    """Of an affine whose last row is 0, 0, 0, 1. Raises `GeometryError` where there is none."""
    m = [[float(value) for value in row] for row in affine]
    # row n of the inverse times the determinant: the cross product of the two other columns
    columns = [[m[row][column] for row in range(3)] for column in range(3)]
    rows = [_cross(columns[(n + 1) % 3], columns[(n + 2) % 3]) for n in range(3)]
    determinant = sum(a * b for a, b in zip(columns[0], rows[0], strict=True))
    size = max(abs(value) for column in columns for value in column)
    if not abs(determinant) > 1e-9 * size**3:  # also where it is not a number
        raise GeometryError(f"The affine {m[:3]} is singular: positions in the image cannot be told from it.")
    turned = [[value / determinant for value in row] for row in rows]
    shift = [-sum(row[n] * m[n][3] for n in range(3)) for row in turned]
    return [[*row, back] for row, back in zip(turned, shift, strict=True)] + [[0.0, 0.0, 0.0, 1.0]]


def _cross(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def _corners(box: Box) -> list[Position]:
    return [(x, y, z) for x, y, z in product(*zip(box.near, box.far, strict=True))]


def _around(positions: Iterable[Position]) -> Box:
    xs, ys, zs = zip(*positions, strict=True)
    return Box(near=(min(xs), min(ys), min(zs)), far=(max(xs), max(ys), max(zs)))

"""Prompts: what a user points at in an image; points, boxes, masks and text for one object or several.

Coordinates always say their space: voxels (i, j, k) of a named image, voxel centres whole, or world positions in
mm, RAS+ or LPS+; of an image of two dimensions pixels (x, y): column and row, pixel centres whole, the first is 0.
`omlab_prompts.prompts_json` reads and writes their file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from omlab.errors import GeometryError, UsageError
from omlab.payloads import Inputs
from omlab_prompts.belonging import check_belongs
from omlab_prompts.positions import LPS_TO_RAS, Affine, Position, apply, inverse, rows_of
from omlab_prompts.wording import what_is_wrong, wrong_numbers

Space = Literal["voxel", "ras", "lps", "pixel"]
Facet = Literal["points", "boxes", "masks", "text"]
FACETS: tuple[Facet, ...] = ("points", "boxes", "masks", "text")

_Coordinate = Annotated[float, Field(allow_inf_nan=False)]
_At = Annotated[tuple[_Coordinate, ...], Field(min_length=2, max_length=3)]
_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


def _relative(file: str) -> str:
    if Path(file).is_absolute() or ".." in Path(file).parts:
        raise ValueError(f"'{file}' must lie in the folder of the prompts file or below it")
    return file


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(_Strict):
    """A click: `label` 1 in the object, 0 outside it."""

    at: _At
    label: Literal[0, 1] = 1


class Box(_Strict):
    """A box along the axes of its space, by two opposite corners; `near` holds the smaller numbers."""

    near: _At
    far: _At

    @model_validator(mode="after")
    def _is_ordered(self) -> Box:
        if len(self.near) != len(self.far):
            raise ValueError(f"near {list(self.near)} and far {list(self.far)} are not of as many numbers")
        if any(a > b for a, b in zip(self.near, self.far, strict=True)):
            raise ValueError(f"near {list(self.near)} lies beyond far {list(self.far)}: no number of it may be larger")
        return self


class Mask(_Strict):
    """A rough mask: where the label map `file` (relative to the prompts file) has the label `value`."""

    file: Annotated[str, StringConstraints(min_length=1), AfterValidator(_relative)]
    value: Annotated[int, Field(ge=1)] = 1


class Object(_Strict):
    """The prompts of one object. Points are in the order in which they were set: models may take them in rounds."""

    name: _Text
    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()
    masks: tuple[Mask, ...] = ()
    text: tuple[_Text, ...] = ()

    @model_validator(mode="after")
    def _is_prompted(self) -> Object:
        if not self.facets():
            raise ValueError(f"'{self.name}' has no prompt: give points, boxes, masks or text")
        return self

    def facets(self) -> frozenset[Facet]:
        """Which sorts of prompts it has."""
        return frozenset(facet for facet in FACETS if getattr(self, facet))


class Prompts(_Strict):
    """What a user points at: the payload `prompts`.

    `image` is the name of the image's file. Voxels mean nothing without it, and pixels nothing without it or the
    `size` (width, height) of the images that they are for; for world positions it may be absent.
    """

    kind: ClassVar[str] = "prompts"

    version: Literal[1] = 1
    space: Space
    image: Annotated[str, StringConstraints(min_length=1)] | None = None
    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    objects: Annotated[tuple[Object, ...], Field(min_length=1)]
    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _is_consistent(self) -> Prompts:
        if self.size is not None and self.space != "pixel":
            raise ValueError("'size' is that of images of two dimensions, whose prompts are pixels")
        if self.space in ("voxel", "pixel") and self.image is None and self.size is None:
            raise ValueError(f"{self.space}s are those of an image: give 'image', the name of its file")
        seen: set[str] = set()
        for entry in self.objects:
            if entry.name in seen:
                raise ValueError(f"two objects are called '{entry.name}'")
            seen.add(entry.name)
            self._check_numbers(entry)
        return self

    def _check_numbers(self, entry: Object) -> None:
        count = 2 if self.space == "pixel" else 3
        for what, places in (
            ("point", [{"at": point.at} for point in entry.points]),
            ("box", [{"near": box.near, "far": box.far} for box in entry.boxes]),
        ):
            for number, place in enumerate(places, start=1):
                for field, at in place.items():
                    if len(at) != count:
                        said = [int(x) if x.is_integer() else x for x in at]
                        raise ValueError(
                            f"{what} {number} of '{entry.name}': {wrong_numbers(field, said, space=self.space)}"
                        )

    @classmethod
    def from_value(cls, value: Any) -> Prompts:
        """The prompts of what a prompts file holds, as JSON. Raises `UsageError`."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise UsageError(f"These are no prompts: {what_is_wrong(error, value)}.") from None

    def facets(self) -> frozenset[Facet]:
        """Which sorts of prompts there are: what the `accepts` of a model's card is held against."""
        return frozenset(facet for entry in self.objects for facet in entry.facets())

    def check_belongs(self, inputs: Inputs) -> None:
        """Raise `GeometryError` where they cannot belong to the other inputs: `omlab_prompts.belonging`."""
        check_belongs(self, inputs)

    def mask_path(self, mask: Mask) -> Path:
        """Where the file of a mask lies. Raises `UsageError` where these prompts were not read from a file."""
        if self._folder is None:
            raise UsageError(f"The mask {mask.file} lies beside a prompts file, but these prompts come from none.")
        return self._folder / mask.file

    def in_world(self, affine: Affine | None = None) -> Prompts:
        """The same prompts in world mm, RAS+.

        Args:
            affine: Of the image that voxels refer to; not needed for world positions.

        Raises:
            GeometryError: Voxels without an affine, a singular affine, or pixels.
        """
        self._check_in_space()
        if self.space == "ras":
            return self
        if self.space == "lps":
            return self.moved(LPS_TO_RAS, space="ras", image=self.image)
        if affine is None:
            raise GeometryError(f"The prompts are voxels of {self.image}: its affine is needed to place them in space.")
        inverse(affine)  # what could not be undone is no place
        return self.moved(affine, space="ras", image=self.image)

    def in_voxels(self, affine: Affine, *, shape: Sequence[int], image: str) -> Prompts:
        """The same prompts in voxels of one image, checked to lie in it.

        A box that is oblique to the voxels becomes the box around it.

        Args:
            affine: Of the image.
            shape: (I, J, K) of the image.
            image: Name of the image's file, compared without its folder.

        Raises:
            GeometryError: Voxels of another image, a position outside this one, a singular affine, or pixels.
        """
        self._check_in_space()
        if self.space == "voxel":
            if Path(str(self.image)).name != Path(image).name:
                raise GeometryError(
                    f"The prompts are voxels of {self.image}, not of {image}: give them in world coordinates, "
                    "or name the image that they belong to."
                )
            found = self
        else:
            found = self.in_world().moved(inverse(affine), space="voxel", image=image)
        found._check_inside(shape, image=image, space=self.space)
        return found

    def in_pixels(self, *, shape: Sequence[int], image: str) -> Prompts:
        """The same prompts, checked to be pixels that lie in one image of two dimensions.

        Args:
            shape: Rows and columns of the image.
            image: Name of the image's file, compared without its folder.

        Raises:
            GeometryError: They are no pixels, those of another image or another size, or one lies outside this one.
        """
        if self.space != "pixel":
            what = "voxels of a volume" if self.space == "voxel" else "positions in mm"
            raise GeometryError(
                f'The prompts are {what}, but {image} is an image of two dimensions: give pixels ("space": "pixel").'
            )
        if self.image is not None and Path(self.image).name != Path(image).name:
            raise GeometryError(
                f"The prompts are pixels of {self.image}, not of {image}: name the image that they belong to."
            )
        if self.size is not None and self.size != (shape[1], shape[0]):
            sizes = [f"{width} x {height}" for width, height in (self.size, (shape[1], shape[0]))]
            raise GeometryError(f"The prompts are pixels of an image of {sizes[0]}, but {image} has {sizes[1]}.")
        self._check_inside((shape[1], shape[0]), image=image, space=self.space)
        return self

    def _check_in_space(self) -> None:
        if self.space == "pixel":
            raise GeometryError(
                f"The prompts are pixels of {self.image}, but a volume is pointed at in voxels or in mm: give three "
                'numbers and "space": "voxel", "ras" or "lps".'
            )

    def _check_inside(self, sizes: Sequence[int], *, image: str, space: str) -> None:
        limits = [n - 0.5 for n in sizes]  # a voxel reaches half its size beyond its centre
        for entry in self.objects:
            corners = [corner for box in entry.boxes for corner in (box.near, box.far)]
            for at in (*(point.at for point in entry.points), *corners):
                if not all(-0.5 <= x <= limit for x, limit in zip(at, limits, strict=True)):
                    place = ", ".join(f"{x:.1f}" for x in at)
                    what, grid = ("pixel", "an image") if space == "pixel" else ("voxel", "a grid")
                    raise GeometryError(
                        f"A prompt of '{entry.name}' lies outside {image}: {what} ({place}) of {grid} of "
                        f"{' x '.join(map(str, sizes))}; check the space '{space}' of the prompts."
                    )

    def moved(self, affine: Affine, *, space: Space, image: str | None) -> Prompts:
        """The same prompts where an affine takes them; a box becomes the one around it."""
        matrix = rows_of(affine)
        objects = tuple(
            entry.model_copy(
                update={
                    # finite numbers are not checked a second time: thousands of clicks take a hundredth of a second
                    "points": tuple(Point.model_construct(at=apply(matrix, p.at), label=p.label) for p in entry.points),
                    "boxes": tuple(_around(apply(matrix, corner) for corner in _corners(box)) for box in entry.boxes),
                }
            )
            for entry in self.objects
        )
        return self.model_copy(update={"space": space, "image": image, "objects": objects})


def json_schema() -> dict[str, Any]:
    """JSON Schema of a prompts file."""
    return Prompts.model_json_schema()


def _corners(box: Box) -> list[Position]:
    (a, b, c), (d, e, f) = box.near, box.far
    return list(product((a, d), (b, e), (c, f)))


def _around(positions: Iterable[Position]) -> Box:
    xs, ys, zs = zip(*positions, strict=True)
    return Box(near=(min(xs), min(ys), min(zs)), far=(max(xs), max(ys), max(zs)))

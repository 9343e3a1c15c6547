"""Which input prompts belong to: the image that they name, or a lattice that they lie in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omlab.errors import GeometryError

if TYPE_CHECKING:
    from omlab.payloads import Inputs
    from omlab_prompts.positions import Affine
    from omlab_prompts.prompts import Prompts


class _Lattice(NamedTuple):
    affine: Affine
    shape: tuple[int, ...]


def check_belongs(prompts: Prompts, inputs: Inputs) -> None:
    """Raise `GeometryError` where prompts cannot belong to the other inputs of their case.

    Of an input its `name` (the file's), `names` (all that it may be called: the files of a series), `affine` and shape
    (that of its `grid`, or its own) are looked at, as far as it has them. Voxels and pixels name an image, or pixels
    its size: it must be one of an input's names, where inputs have names. Pixels are those of an image of two
    dimensions, which has no affine; all else is of volumes. Positions must lie in the input of that name; where none
    has it (several series of one patient share one space), in one of the inputs.
    """
    names = {key: Path(str(name)).name for key, value in inputs.items() if (name := getattr(value, "name", None))}
    wanted = Path(prompts.image).name if prompts.image else None
    named = [key for key, name in names.items() if wanted in {name, *getattr(inputs[key], "names", ())}]
    if prompts.space in ("voxel", "pixel") and wanted is not None and names and not named:
        otherwise = "" if prompts.space == "pixel" else "give them in world coordinates, or "
        raise GeometryError(
            f"The prompts are {prompts.space}s of {prompts.image}, not of {' or '.join(sorted(set(names.values())))}: "
            f"{otherwise}name the image that they belong to."
        )
    chosen = {key: inputs[key] for key in named or inputs}
    lattices, flats = _lattices(chosen), _flats(chosen)
    outside: list[GeometryError] = []
    for key in (*lattices, *flats):
        called = names.get(key, f"the input '{key}'")
        image = prompts.image or called if prompts.space in ("voxel", "pixel") else called
        try:
            if key in flats:
                prompts.in_pixels(shape=flats[key], image=image)
            else:
                prompts.in_voxels(lattices[key].affine, shape=lattices[key].shape, image=image)
        except GeometryError as error:
            outside.append(error)
    if outside and len(outside) == len(lattices) + len(flats):
        raise outside[0]


def _lattices(inputs: Mapping[str, Any]) -> dict[str, _Lattice]:
    """The inputs that lie on a lattice in space."""
    found = {}
    for key, value in inputs.items():
        affine = getattr(value, "affine", None)
        shape = getattr(getattr(value, "grid", value), "shape", None)
        if affine is not None and shape is not None and len(shape) == 3:
            found[key] = _Lattice(affine, tuple(int(n) for n in shape))
    return found


def _flats(inputs: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """The inputs that are images of two dimensions: rows and columns."""
    found = {}
    for key, value in inputs.items():
        shape = getattr(value, "shape", None)
        if shape is not None and len(shape) == 2 and hasattr(value, "same_grid") and not hasattr(value, "affine"):
            found[key] = (int(shape[0]), int(shape[1]))
    return found

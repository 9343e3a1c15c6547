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
    (that of its `grid`, or its own) are looked at, as far as it has them. Voxels name an image: it must be one of an
    input's names, where inputs have names. Positions must lie in the input of that name; where none has it (several
    series of one patient share one space), in one of the inputs.
    """
    names = {key: Path(str(name)).name for key, value in inputs.items() if (name := getattr(value, "name", None))}
    wanted = Path(prompts.image).name if prompts.image else None
    named = [key for key, name in names.items() if wanted in {name, *getattr(inputs[key], "names", ())}]
    if prompts.space == "voxel" and names and not named:
        raise GeometryError(
            f"The prompts are voxels of {prompts.image}, not of {' or '.join(sorted(set(names.values())))}: give them "
            "in world coordinates, or name the image that they belong to."
        )
    lattices = _lattices({key: inputs[key] for key in named or inputs})
    outside: list[GeometryError] = []
    for key, lattice in lattices.items():
        image = str(prompts.image) if prompts.space == "voxel" else names.get(key, f"the input '{key}'")
        try:
            prompts.in_voxels(lattice.affine, shape=lattice.shape, image=image)
        except GeometryError as error:
            outside.append(error)
    if lattices and len(outside) == len(lattices):
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

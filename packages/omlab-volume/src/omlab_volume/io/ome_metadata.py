"""What OME-Zarr's metadata say: which axis is which, and where the voxels lie.

Source: the OME-NGFF specification, versions 0.4 and 0.5 (multiscales, axes, coordinateTransformations). It knows
positions along x, y and z and no directions of the body: these are taken as Right, Anterior and Superior, as they
stand. An affine that turns is kept beside it, under `omlab`, where only we look.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError, GeometryWarning, InputError
from omlab_volume.labels import Label

VERSIONS = ("0.4", "0.5")
OWN = "omlab"
_MM = {
    "angstrom": 1e-7,
    "nanometer": 1e-6,
    "micrometer": 1e-3,
    "millimeter": 1.0,
    "centimeter": 10.0,
    "decimeter": 100.0,
    "meter": 1000.0,
    "inch": 25.4,
    "nm": 1e-6,
    "um": 1e-3,
    "µm": 1e-3,
    "mm": 1.0,
    "cm": 10.0,
    "m": 1000.0,
}


@dataclass(frozen=True, kw_only=True)
class Multiscale:
    """An image of several levels.

    Attributes:
        version: Of the specification.
        paths: The arrays, the finest first.
        axes: Names of the arrays' axes in their order: some of t and c, then x, y and z.
        affine: (4, 4) from voxels (x, y, z) of the finest level to mm.
    """

    version: str
    paths: Sequence[str]
    axes: Sequence[str]
    affine: NDArray[np.float64]


def read_multiscale(attributes: Mapping[str, Any], *, path: Path) -> Multiscale:
    """What the attributes of an OME-Zarr image say.

    Raises:
        InputError: It is of another version, has other axes, or is incomplete.
        GeometryError: A unit or scale cannot be.
    """
    found = attributes.get("ome", attributes)
    images = found.get("multiscales") if isinstance(found, Mapping) else None
    if not isinstance(images, Sequence) or not images or not isinstance(images[0], Mapping):
        raise InputError(_without_metadata(attributes, path))
    image = images[0]
    version = str(found.get("version") or image.get("version") or "unknown")
    if version not in VERSIONS:
        raise InputError(f"{path} is OME-Zarr of version {version}, but 0.4 and 0.5 are read: convert it to 0.5.")
    try:
        axes = [str(axis["name"]) for axis in image["axes"]]
        units = {str(axis["name"]): axis.get("unit") for axis in image["axes"]}
        paths = [str(level["path"]) for level in image["datasets"]]
        transforms = [*image["datasets"][0].get("coordinateTransformations", ())]
        transforms += image.get("coordinateTransformations", ())
        scale, translation = _composed(transforms, axes=len(axes))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(f"{path} has incomplete OME-Zarr metadata ({type(error).__name__}: {error}).") from error
    _check_axes(axes, path=path)
    affine = _own_affine(attributes)
    if affine is None:
        affine = np.eye(4)
        for row, (name, mm) in enumerate(zip("xyz", _mm(units, path=path), strict=True)):
            affine[row, row] = scale[axes.index(name)] * mm
            affine[row, 3] = translation[axes.index(name)] * mm
    if not np.isfinite(affine).all() or min(np.linalg.norm(affine[:3, :3], axis=0)) <= 0:
        raise GeometryError(f"{path} gives its voxels the size {np.diag(affine)[:3].tolist()} mm: none may be 0.")
    return Multiscale(version=version, paths=paths, axes=axes, affine=affine)


def _without_metadata(attributes: Mapping[str, Any], path: Path) -> str:
    found = attributes.get("ome", attributes)
    if isinstance(found, Mapping) and "plate" in found:
        return f"{path} is a plate of many images: name one of them, such as {path}/A/1/0."
    if isinstance(found, Mapping) and "bioformats2raw.layout" in found:
        return f"{path} is a collection of images: name one of them, such as {path}/0."
    return (
        f"{path} is a zarr without OME-Zarr metadata (no 'multiscales'), so that its axes and voxels are not known: "
        "give an OME-Zarr image, or a folder of TIFF slices with their spacing."
    )


def _check_axes(axes: Sequence[str], *, path: Path) -> None:
    if sorted(set(axes) - {"t", "c"}) != ["x", "y", "z"] or len(set(axes)) != len(axes):
        raise InputError(f"{path} has the axes {', '.join(axes)}: a volume has x, y and z, and at most c and t beside.")


def _composed(transforms: Sequence[Any], *, axes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and translation of all transformations, one after the other. Raises `ValueError`."""
    scale, translation = np.ones(axes), np.zeros(axes)
    if not any(transform["type"] == "scale" for transform in transforms):
        raise ValueError("no scale among its coordinateTransformations")
    for transform in transforms:
        kind = transform["type"]
        if kind == "identity":
            continue
        if kind not in ("scale", "translation") or kind not in transform:
            raise ValueError(f"a coordinate transformation '{kind}' that is not written out")
        values = np.array(transform[kind], dtype=np.float64)
        if values.shape != (axes,):
            raise ValueError(f"a {kind} of {values.size} numbers for {axes} axes")
        if kind == "scale":
            scale, translation = scale * values, translation * values
        else:
            translation = translation + values
    return scale, translation


def _mm(units: Mapping[str, Any], *, path: Path) -> list[float]:
    """The mm of the units of x, y and z."""
    lacking = [name for name in "xyz" if units[name] is None]
    if lacking:
        what = f"gives no unit for its axes {', '.join(lacking)}: taken as micrometre"
        warnings.warn(f"{path} {what}.", GeometryWarning, stacklevel=5)
    for name in "xyz":
        if units[name] is not None and units[name] not in _MM:
            raise GeometryError(f"{path} gives the unit '{units[name]}' for its axis {name}, whose mm are not known.")
    return [_MM[units[name] or "micrometer"] for name in "xyz"]


def _own_affine(attributes: Mapping[str, Any]) -> NDArray[np.float64] | None:
    own = attributes.get(OWN)
    try:
        affine = np.array(own["affine"], dtype=np.float64) if isinstance(own, Mapping) else None
    except (KeyError, TypeError, ValueError):
        return None
    return affine if affine is not None and affine.shape == (4, 4) else None


def multiscale_attributes(
    affine: NDArray[np.float64], *, name: str, channels: bool, factors: Sequence[int], method: str, version: str
) -> dict[str, Any]:
    """The attributes of an image whose level n has one voxel of `factors[n]` along each axis, made by `method`.

    With `nearest` that is the first of them; of `mean` and `max` a voxel lies in the middle of those it stands for.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    is_plain = np.allclose(affine[:3, :3], np.diag(spacing), atol=1e-6 * float(spacing.min()))
    origin = affine[:3, 3] if is_plain else np.zeros(3)
    axes: list[dict[str, str]] = [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"]
    datasets = []
    for number, factor in enumerate(factors):
        shift = spacing * (0 if method == "nearest" else (factor - 1) / 2)
        scale, translation = (spacing * factor)[::-1].tolist(), (origin + shift)[::-1].tolist()
        if channels:
            scale, translation = [1.0, *scale], [0.0, *translation]
        transforms = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    image = {
        "name": name,
        "axes": [{"name": "c", "type": "channel"}, *axes] if channels else axes,
        "datasets": datasets,
        "type": method,
    }
    if version == "0.4":
        return {"multiscales": [{"version": version, **image}]}
    return {"ome": {"version": version, "multiscales": [image]}}


def label_attributes(labels: Sequence[Label], *, version: str) -> dict[str, Any]:
    """What OME-Zarr says of a label image: a colour and a name for each value."""
    colours = [{"label-value": one.value, "rgba": [*one.colour, 255]} for one in labels if one.colour is not None]
    properties = [{"label-value": one.value, "name": one.name} for one in labels]
    facts: dict[str, Any] = {"colors": colours, "properties": properties}
    return {"version": version, **facts} if version == "0.4" else facts


def foreign_labels(attributes: Mapping[str, Any]) -> tuple[Label, ...]:
    """Names and colours of another writer's label image; what is not as the specification says is left out."""
    found = attributes.get("ome", attributes)
    facts = found.get("image-label") if isinstance(found, Mapping) else None
    if not isinstance(facts, Mapping):
        return ()
    colours: dict[int, tuple[int, int, int]] = {}
    names: dict[int, str] = {}
    for row in facts.get("colors") or ():
        rgba = row.get("rgba") if isinstance(row, Mapping) else None
        if rgba is not None and len(rgba) == 4 and type(row.get("label-value")) is int:
            colours[row["label-value"]] = (int(rgba[0]), int(rgba[1]), int(rgba[2]))
    for row in facts.get("properties") or ():
        if isinstance(row, Mapping) and type(row.get("label-value")) is int and isinstance(row.get("name"), str):
            names[row["label-value"]] = row["name"]
    return tuple(
        Label(value=value, name=names.get(value, f"label {value}"), colour=colours.get(value))
        for value in sorted({*colours, *names} - {0})
        if value > 0
    )

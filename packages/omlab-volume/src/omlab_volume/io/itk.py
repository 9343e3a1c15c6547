"""NRRD and MetaImage (.nrrd, .mha) through SimpleITK, an extra: `omlab-volume[itk]`.

    volume = Nrrd().read(Path("ct.nrrd"), kind="volume")
    Mha().write(labelmap, Path("seg.mha"))

Axes stay as they are in the file; the components of a vector image, or a fourth axis, become the channels. Label names
travel in the header's `omlab_labels` field.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError, InputError, MissingDependencyError, OmlabWarning, OutputError
from omlab.payloads import Inputs, Payload
from omlab_volume.geometry import affine_from_axes, swap_lps_ras
from omlab_volume.io.paths import check_file, written
from omlab_volume.labels import JSON_KEY, labels_from_json, labels_to_json, smallest_unsigned
from omlab_volume.volume import LabelMap, Source, Volume


class _ItkFormat:
    """What both formats share."""

    name: ClassVar[str]
    suffix: ClassVar[str]
    image_io: ClassVar[str]

    def read(self, path: Path, *, kind: str) -> Volume | LabelMap:
        """Read `path` as a `volume` or a `labelmap`. Raises `InputError` and `MissingDependencyError`."""
        if kind not in ("volume", "labelmap"):
            raise InputError(f"{path}: {self.name} holds a volume or a labelmap, not a '{kind}'.")
        check_file(path)
        sitk = _simpleitk(path)
        try:
            image = sitk.ReadImage(str(path), imageIO=self.image_io)
            text = image.GetMetaData(JSON_KEY) if image.HasMetaDataKey(JSON_KEY) else ""
        except (RuntimeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as {self.name}: {_last_line(error)}") from error
        array, affine = _channels_first(sitk, image, path=path), _affine(image)
        source = Source(format=self.name, paths=(path,))
        if kind == "volume":
            _warn_of_bad_values(array, path=path)
            return Volume(array=array, affine=affine, source=source)
        if len(array) != 1:
            raise InputError(f"{path} has {len(array)} channels: a label map has one, with a number for each class.")
        values = smallest_unsigned(array[0], what=str(path))
        return LabelMap(array=values, affine=affine, labels=labels_from_json(text, what=str(path)), source=source)

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write a volume or label map, compressed; labels as uint8 or uint16. Raises `OutputError`."""
        sitk = _simpleitk(path)
        if path.suffix.lower() != self.suffix:
            raise OutputError(f"{path}: {self.name} files end in {self.suffix}; name it so.")
        if isinstance(payload, LabelMap):
            array = smallest_unsigned(payload.array, what="the label map")[None]
        elif isinstance(payload, Volume):
            array = _storable(payload.array)
        else:
            raise OutputError(f"{path}: {self.name} holds a volume or a labelmap, not a '{payload.kind}'.")
        image = _image(sitk, array, payload.affine)
        if isinstance(payload, LabelMap) and payload.labels:
            image.SetMetaData(JSON_KEY, labels_to_json(list(payload.labels)))
        with written(path):
            try:
                sitk.WriteImage(image, str(path), useCompression=True, imageIO=self.image_io)
            except RuntimeError as error:
                raise OutputError(f"{path} cannot be written: {_last_line(error)}") from error


class Nrrd(_ItkFormat):
    """Reads and writes volumes and label maps as NRRD."""

    name = "nrrd"
    suffix = ".nrrd"
    image_io = "NrrdImageIO"


class Mha(_ItkFormat):
    """Reads and writes volumes and label maps as MetaImage, header and voxels in one file."""

    name = "mha"
    suffix = ".mha"
    image_io = "MetaImageIO"


def _simpleitk(path: Path) -> Any:
    try:
        import SimpleITK as sitk  # noqa: N813 (the library's own abbreviation)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"{path} needs SimpleITK: install omlab-volume[itk].") from error
    # ITK writes remarks on odd headers to the terminal, past Python's warnings; what matters is checked here
    process: Any = sitk.ProcessObject
    process.SetGlobalWarningDisplay(False)
    return sitk


def _channels_first(sitk: Any, image: Any, *, path: Path) -> NDArray[Any]:
    """The voxels as (C, I, J, K)."""
    array: NDArray[Any] = sitk.GetArrayFromImage(image)
    components, axes = image.GetNumberOfComponentsPerPixel(), image.GetDimension()
    if array.dtype.kind == "c":
        raise InputError(f"{path} holds complex numbers: save their magnitude first.")
    if axes not in (3, 4) or (axes == 4 and components > 1):
        raise InputError(
            f"{path} has {axes} axes and {components} components: a 3-D image, of channels or not, is needed."
        )
    if components > 1:
        return array.transpose(3, 2, 1, 0)
    return array.transpose(0, 3, 2, 1) if axes == 4 else array.transpose(2, 1, 0)[None]


def _affine(image: Any) -> NDArray[np.float64]:
    size = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(size, size)[:3, :3]
    axes = direction * np.array(image.GetSpacing())[:3]
    return swap_lps_ras(affine_from_axes(axes, origin=np.array(image.GetOrigin())[:3]))


def _image(sitk: Any, array: NDArray[Any], affine: NDArray[np.float64]) -> Any:
    vector = len(array) > 1
    voxels = array.transpose(3, 2, 1, 0) if vector else array[0].transpose(2, 1, 0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels), isVector=vector)
    lps = swap_lps_ras(affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    try:
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    except RuntimeError as error:
        raise GeometryError(f"ITK cannot hold the affine {affine.tolist()}: {_last_line(error)}") from error
    return image


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    """The array in a type that ITK knows."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _warn_of_bad_values(array: NDArray[Any], *, path: Path) -> None:
    if array.dtype.kind == "f" and (bad := array.size - int(np.count_nonzero(np.isfinite(array)))):
        what = f"{bad:,} of {array.size:,} voxels are NaN or infinite"
        warnings.warn(f"{path}: {what}.", OmlabWarning, stacklevel=3)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines or lines[-1] == "Reason: Success.":  # MetaImage's word for a file that it cannot parse
        return "it is damaged, cut short or of another format."
    return lines[-1].rstrip(".") + "."

"""The classes of MONAI that a bundle may name, made with plain values alone; any other is one sentence."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from omlab.errors import WeightsError, first_line
from omlab_monai.bundle.config import Component, without_devices

Kind = Literal["network", "transform", "inferer"]

_MODULES: Mapping[Kind, str] = {
    "network": "monai.networks.nets",
    "transform": "monai.transforms",
    "inferer": "monai.inferers",
}
ALLOWED: Mapping[Kind, frozenset[str]] = {
    "network": frozenset(
        {
            "AHNet", "AttentionUnet", "BasicUNet", "BasicUNetPlusPlus", "DynUNet", "FlexibleUNet", "HighResNet",
            "MedNeXt", "SegResNet", "SegResNetDS", "SegResNetDS2", "SwinUNETR", "UNETR", "UNet", "VNet",
        }
    ),
    "transform": frozenset(
        {
            "Activationsd", "AsDiscreted", "CastToTyped", "CenterSpatialCropd", "ClipIntensityPercentilesd",
            "CropForegroundd", "DivisiblePadd", "EnsureTyped", "FillHolesd", "Flipd", "GaussianSmoothd",
            "HistogramNormalized", "Invertd", "KeepLargestConnectedComponentd", "NormalizeIntensityd", "Orientationd",
            "RemoveSmallObjectsd", "Resized", "ResizeWithPadOrCropd", "ScaleIntensityRanged",
            "ScaleIntensityRangePercentilesd", "ScaleIntensityd", "ShiftIntensityd", "Spacingd", "SpatialPadd",
            "SqueezeDimd", "ThresholdIntensityd",
        }
    ),
    "inferer": frozenset({"SimpleInferer", "SliceInferer", "SlidingWindowInferer"}),
}  # fmt: skip
_GONE = {("SwinUNETR", "img_size"), ("UNet", "dimensions"), ("SegResNet", "dimensions")}
"""Arguments of earlier releases that say nothing any more."""


def made(part: Any, kind: Kind, *, where: str, **more: Any) -> Any:
    """The object that a component stands for.

    Args:
        part: From a `Config`.
        kind: What it is to be.
        where: The entry, for messages.
        more: Arguments in place of the component's.

    Raises:
        WeightsError: It is none, its class is not among `ALLOWED`, or its arguments are no plain values or refused.
    """
    if not isinstance(part, Component):
        raise WeightsError(f"{where} names no class of MONAI: a {kind} is wanted there.")
    if part.name not in ALLOWED[kind] or not part.target.startswith(("monai.", part.name)):
        known = ", ".join(sorted(ALLOWED[kind]))
        raise WeightsError(f"{where} is a {part.target}, which omlab does not build. As a {kind} it builds {known}.")
    arguments = {**without_devices(part.arguments), **more}
    arguments = {name: value for name, value in arguments.items() if (part.name, name) not in _GONE}
    odd = [name for name, value in arguments.items() if name not in more and not _is_plain(value)]
    if odd:
        raise WeightsError(f"{where}: '{odd[0]}' of {part.name} is no plain value, which omlab does not build.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # how MONAI will change is no concern of who runs a bundle
            return getattr(_module(kind), part.name)(**arguments)
    except Exception as error:  # MONAI's classes raise what they like of arguments
        raise WeightsError(f"{where}: MONAI refuses these arguments of {part.name} ({first_line(error)}).") from error


def parts_of(compose: Any, *, where: str) -> Sequence[Any]:
    """The transforms of a `Compose`, or of a list; those that are disabled left out. Raises `WeightsError`."""
    if isinstance(compose, Component) and compose.name == "Compose":
        compose = compose.arguments.get("transforms")
    if not isinstance(compose, list):
        raise WeightsError(f"{where} is no Compose of transforms.")
    return [part for part in compose if part is not None]


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def _module(kind: Kind) -> Any:
    from importlib import import_module

    return import_module(_MODULES[kind])

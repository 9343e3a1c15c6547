"""VISTA3D as it is loaded: untrained, with its published weights, or of its bundle's folder, which names the classes.

omlab predict monai-vista3d ct.nii.gz --weights vista3d/ -s classes=1,3,14 -o organs.nii.gz
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from omlab.errors import SettingsError
from omlab.weights import Weights
from omlab_monai.beginnings import LABELS, PLAN, width_of
from omlab_monai.bundle.model import metadata_of, state_of
from omlab_monai.bundle.pipeline import names_of
from omlab_monai.networks import NetworkConfig, built
from omlab_monai.vista3d import CLASSES, EVERYTHING
from omlab_monai.vista3d import PLAN as PUBLISHED
from omlab_volume.inference.task import Task
from omlab_volume.labels import default_colour
from omlab_volume.volume import Label


def vista3d(weights: Weights | None, settings: Mapping[str, Any]) -> tuple[nn.Module, NetworkConfig, Task]:
    """Network, configuration and task. Raises `WeightsError`, and `SettingsError` for classes that cannot be."""
    width = width_of(settings["width"], architecture="vista3d")
    classes = _classes(settings["classes"])
    if weights is None:
        shape = NetworkConfig(architecture="vista3d", width=width, classes=(1,))
        return built(shape), shape, Task(plan=PLAN, labels=LABELS)
    state = weights.state_dict() if weights.folder is None else state_of(weights)
    names = names_of(metadata_of(weights.folder)) if weights.folder is not None else {}
    shape = NetworkConfig(architecture="vista3d", width=width, num_classes=len(classes) + 1, classes=classes)
    network = built(shape)
    weights.load(network, state=state)
    labels = tuple(Label(value=n, name=names.get(n, f"class {n}"), colour=default_colour(n)) for n in classes)
    return network, shape, Task(plan=PUBLISHED, labels=labels, mirror_axes=())


def _classes(given: Sequence[Any]) -> tuple[int, ...]:
    numbers = tuple(given) or EVERYTHING
    if len(set(numbers)) < len(numbers) or not all(isinstance(n, int) and 0 < n < CLASSES for n in numbers):
        raise SettingsError(f"classes is {list(given)}, but must be numbers of VISTA3D's classes, 1 to 132, each once.")
    return numbers

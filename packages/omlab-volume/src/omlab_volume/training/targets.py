"""What a segmentation network is to be made for, as a data set tells of it (`omlab.About`)."""

from __future__ import annotations

from collections.abc import Sequence

from omlab.errors import TrainingError
from omlab.roles import About
from omlab_volume.labels import default_colour
from omlab_volume.volume import Label


def volume_name(about: About) -> str:
    """The input that is a volume. Raises `TrainingError` where there is none, or several."""
    found = [name for name, kind in about.inputs.items() if kind == "volume"]
    if len(found) != 1:
        has = ", ".join(f"{name} ({kind})" for name, kind in about.inputs.items()) or "no inputs"
        raise TrainingError(f"Training needs data with one volume a case, but these have {has}.")
    return found[0]


def channels_of(about: About) -> int:
    """Channels of that volume."""
    name = volume_name(about)
    return int(about.facts.get(name, {}).get("channels") or len(about.channels.get(name, ())) or 1)


def label_values(about: About) -> list[int]:
    """The label values of the classes to learn: neither the background's nor those of voxels left out."""
    return [value for value in sorted(about.classes) if value != 0 and value not in about.ignored]


def labels_of(about: About) -> tuple[Label, ...]:
    """The classes to learn. Raises `TrainingError` where none is named."""
    labels = tuple(
        Label(value=value, name=about.classes[value], colour=default_colour(value)) for value in label_values(about)
    )
    if not labels:
        raise TrainingError("The data set names no classes: there is nothing to learn.")
    return labels


def mirrored_axes(labels: Sequence[Label]) -> tuple[int, ...]:
    """Axes of (z, y, x) that training may mirror: not from left to right where a class is of one side."""
    sided = any("left" in label.name.lower() or "right" in label.name.lower() for label in labels)
    return (0, 1) if sided else (0, 1, 2)

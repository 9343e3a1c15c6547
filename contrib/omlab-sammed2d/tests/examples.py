"""What the test kit is given: simulated clicks that begin at what another model found."""

from __future__ import annotations

from typing import Any

from omlab_image.testing import example_images, example_labelmaps
from omlab_volume.testing import example_labelmaps as example_volume_labels
from omlab_volume.testing import example_volumes


def inputs(card: str, verb: str) -> list[dict[str, Any]] | None:
    """Images and volumes whose reference was found by another model."""
    if verb != "simulate":
        return None
    if card.endswith("-volume"):
        pairs: Any = zip(example_volumes(), example_volume_labels(), strict=True)
        return [{"volume": volume, "reference": labels, "found": labels} for volume, labels in pairs]
    pictures: Any = zip(example_images(), example_labelmaps(), strict=True)
    return [{"image": image, "reference": labels, "found": labels} for image, labels in pictures]

"""What the test kit is given: simulated clicks that begin at what another model found."""

from __future__ import annotations

from typing import Any

from omlab_volume.testing import example_labelmaps, example_volumes


def inputs(card: str, verb: str) -> list[dict[str, Any]] | None:
    """Volumes whose reference was found by another model."""
    if verb != "simulate":
        return None
    pairs = zip(example_volumes(), example_labelmaps(), strict=True)
    return [{"volume": volume, "reference": labels, "found": labels} for volume, labels in pairs]

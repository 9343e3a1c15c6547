"""Example supports for the test kit: scans in memory, of what the example volumes of omlab-volume show."""

from __future__ import annotations

from omlab_medlsam.supports import LoadedScan, Support
from omlab_volume.testing import example_labelmaps, example_volumes


def example_supports() -> list[Support]:
    """Three supports of two scans each, of which none is the example volume of the same number."""
    pairs = zip(example_volumes(), example_labelmaps(), strict=True)
    scans = [LoadedScan(name=f"scan {n}", image=image, labels=labels) for n, (image, labels) in enumerate(pairs)]
    return [Support(scans=(scans[(n + 1) % 3], scans[(n + 2) % 3])) for n in range(3)]

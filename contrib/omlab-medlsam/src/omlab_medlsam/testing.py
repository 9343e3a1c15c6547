"""Example supports for the test kit: scans in memory, of what the example volumes of omlab-volume show."""

from __future__ import annotations

from omlab_medlsam.supports import LoadedScan, Support
from omlab_volume.testing import example_labelmaps, example_volumes


def example_supports() -> list[Support]:
    """Three supports: one scan for the first and the second volume, two others for the third."""
    pairs = zip(example_volumes(), example_labelmaps(), strict=True)
    scans = [LoadedScan(name=f"scan {n}", image=image, labels=labels) for n, (image, labels) in enumerate(pairs)]
    one = Support(scans=(scans[2],))
    return [one, one, Support(scans=(scans[0], scans[1]))]

"""The published plan, as values (upstream's `plans.pkl` is a pickle), and what a user may change of a plan.

Poolings hold no weights, so a checkpoint fits every plan. All triples are (z, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from omlab.errors import SettingsError
from omlab_stunet.network import Triple
from omlab_volume.inference.preprocess import Plan
from omlab_volume.training.planning import spacing_of, window_of

PUBLISHED_PLAN = Plan(spacing=(1.5, 1.5, 1.5), patch_size=(128, 128, 128), normalisation="zscore")
"""Of the TotalSegmentator checkpoints: each image by its own mean and deviation, no clipping of HU."""

TINY_PLAN = replace(PUBLISHED_PLAN, patch_size=(32, 32, 32))


def fill_poolings(poolings: Sequence[Sequence[int]], *, count: int = 5) -> tuple[Triple, ...]:
    """The poolings of any nnU-Net plan for a network that has `count`: cut off, or filled up with (1, 1, 1)."""
    kept = [(int(z), int(y), int(x)) for z, y, x in poolings[:count]]
    return (*kept, *[(1, 1, 1)] * (count - len(kept)))


def with_settings(plan: Plan, *, poolings: Sequence[Triple], spacing: Sequence[Any], patch_size: Sequence[Any]) -> Plan:
    """`plan` with a user's spacing and window; an empty one leaves the plan's.

    Raises `SettingsError` for anything but three numbers above 0, or a window that the poolings do not divide.
    """
    if spacing:
        plan = replace(plan, spacing=spacing_of(spacing))
    if patch_size:
        window = window_of(patch_size)
        stride = [prod(axis) for axis in zip(*poolings, strict=True)]
        if any(n % s for n, s in zip(window, stride, strict=True)):
            raise SettingsError(f"patch_size is {window}, but this network needs multiples of {tuple(stride)}.")
        if tuple(stride) == window:
            raise SettingsError(f"patch_size is {window}, which leaves one voxel to normalise: make it larger.")
        plan = replace(plan, patch_size=window)
    return plan

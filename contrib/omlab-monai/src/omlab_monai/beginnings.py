"""What a network has before data are known: its width, its stages, a plan and a label."""

from __future__ import annotations

from omlab.errors import SettingsError
from omlab_monai.networks import ARCHITECTURES
from omlab_volume.inference.preprocess import Plan
from omlab_volume.labels import labels_from_names

WIDTHS = {"segresnet": 32, "segresnet-ds": 32, "swinunetr": 24, "dynunet": 32, "mednext": 32, "vista3d": 48}
POOLINGS = ((2, 2, 2),) * 4
PLAN = Plan(spacing=(1.5, 1.5, 1.5), patch_size=(96, 96, 96))
LABELS = tuple(labels_from_names(["class_1"]))


def width_of(given: int, *, architecture: str) -> int:
    """Channels of the first stage. Raises `SettingsError` for what the network cannot have."""
    width, step = given or WIDTHS[architecture], ARCHITECTURES[architecture].width_step
    if width % step:
        raise SettingsError(f"width is {width}, but monai-{architecture} needs a multiple of {step}.")
    return width

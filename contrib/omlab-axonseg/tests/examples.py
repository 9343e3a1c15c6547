"""What the test kit cannot know of this package: files that hold a view each, what style transfer learns from."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from omlab.roles import Dataset
from omlab_axonseg.region_network import RegionConfig, untrained
from omlab_testkit.example_data import example_data
from omlab_volume.testing import example_volumes

FILES = {"coronal": "epoch100_1.pth", "horizontal": "epoch100_2.pth"}


def state_dicts(card: Any, tag: str) -> dict[str, dict[str, Tensor]] | None:
    """By file the state dict that is expected under the card's rules; of other cards the kit finds it itself."""
    if tag not in (*FILES, "both"):
        return None
    networks = untrained(RegionConfig())
    views = FILES if tag == "both" else [tag]
    return {FILES[view]: dict(networks.get_submodule(view).state_dict()) for view in views}


def data(card: Any, recipe: str) -> Dataset | None:
    """Brains with references for the recipe `style`; of others the kit finds it itself."""
    if recipe != "style":
        return None
    volumes = [volume for volume in example_volumes() if volume.channels == 1]
    return example_data(
        [{"volume": one, "reference": other} for one, other in zip(volumes, volumes[::-1], strict=True)], None
    )

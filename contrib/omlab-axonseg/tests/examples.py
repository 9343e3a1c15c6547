"""What the test kit cannot know of this package: the files of weights that hold a view each."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from omlab_axonseg.region_network import RegionConfig, untrained

FILES = {"coronal": "epoch100_1.pth", "horizontal": "epoch100_2.pth"}


def state_dicts(card: Any, tag: str) -> dict[str, dict[str, Tensor]] | None:
    """By file the state dict that is expected under the card's rules; of other cards the kit finds it itself."""
    if tag not in (*FILES, "both"):
        return None
    networks = untrained(RegionConfig())
    views = FILES if tag == "both" else [tag]
    return {FILES[view]: dict(networks.get_submodule(view).state_dict()) for view in views}

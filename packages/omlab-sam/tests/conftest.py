from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from omlab_sam.network import Sam

MakeSam = Callable[..., Sam]


@pytest.fixture
def tiny() -> MakeSam:
    """Makes a narrow network, the same each time."""

    def make(**changed: object) -> Sam:
        torch.manual_seed(0)
        settings = {
            "image_size": 32,
            "embed_dim": 16,
            "depth": 2,
            "num_heads": 2,
            "global_attn_indexes": (1,),
            "window_size": 3,
            "patch_size": 8,
            "out_chans": 16,
        }
        return Sam(**(settings | changed)).eval()  # type: ignore[arg-type]

    return make

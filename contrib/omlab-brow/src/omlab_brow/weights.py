"""Published checkpoints: the encoder that a file holds, told by its keys, and its tensors by the encoder's names.

    plain       a bare state dict of the encoder, as upstream loads it
    DINO's      under `teacher` or `student`, each key with `module.`, `backbone.` or both before it, and `head.*`

Whether files of the second form exist for BROW was not verified; DINO's own training writes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from omlab.errors import WeightsError
from omlab.weights import check_entries, depth_of
from omlab_brow.vit import VitConfig

_HEAD_WIDTH = 64  # numbers of a token in each head, of all of upstream's variants but the largest
_HEAD_WIDTHS = {1280: 80}
_NEEDED = {"cls_token": 3, "pos_embed": 3, "patch_embed.proj.weight": 4, "blocks.0.mlp.fc1.weight": 2}
_PREFIXES = ("module.", "backbone.", "teacher.", "student.")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file holds: the encoder, and its tensors by the network's names."""

    config: VitConfig
    state: Mapping[str, Tensor]


def recognise(state: Mapping[str, Tensor], *, source: Path | str) -> Found:
    """The encoder that `state` belongs to. Raises `WeightsError` where it is none of BROW's form."""
    state = _renamed(state)
    check_entries(state, _NEEDED, what="a BROW checkpoint", source=source)
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    rows = state["pos_embed"].shape[1] - 1
    side = math.isqrt(rows)
    if side * side != rows:
        raise WeightsError(
            f"{source} is not a BROW checkpoint: the {rows + 1} rows of 'pos_embed' are no square of patches and one."
        )
    config = VitConfig(
        size=side * patch,
        patch=patch,
        width=width,
        depth=depth_of(state, r"blocks\.(\d+)\."),
        heads=max(1, width // _HEAD_WIDTHS.get(width, _HEAD_WIDTH)),
        mlp_ratio=state["blocks.0.mlp.fc1.weight"].shape[0] / width,
    )
    return Found(config=config, state=state)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without what wrappers put before them; of a student beside a teacher, the teacher; without the head."""
    if any(key.startswith("teacher.") for key in state):
        state = {key: value for key, value in state.items() if not key.startswith(("student.", "center"))}
    renamed = {}
    for key, value in state.items():
        name = key
        while name.startswith(_PREFIXES):
            name = name.partition(".")[2]
        if not name.startswith("head."):
            renamed[name] = value
    return renamed

"""Published checkpoints: which encoder a file holds, told by its keys, and its tensors by that encoder's names.

    published            a bare state dict of the base encoder; its `head.*` and `bridge_token` are of pre-training
    training checkpoint  under `state_dict` the whole task: `base_encoder.*` beside the momentum encoder and heads

Wrapper, `module.` and what a card drops are taken off before (`omlab.weights`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from omlab.errors import WeightsError
from omlab.weights import check_entries, depth_of
from omlab_pathoduet.positions import PREFIX
from omlab_pathoduet.vit import VitConfig

_BASE = "base_encoder."
_OF_TRAINING = ("head.", "bridge_token")
_STEMS = {"patch": "patch_embed.proj.weight", "conv": "patch_embed.proj.12.weight"}
_NEEDED = {"pretext_token": 3, "cls_token": 3, "pos_embed": 3, "blocks.0.mlp.fc1.weight": 2}
_NORMS = {"avg": "fc_norm.weight", "token": "norm.weight"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """The encoder that a file holds, and its tensors by the network's names."""

    config: VitConfig
    state: Mapping[str, Tensor]


def recognise(state: Mapping[str, Tensor], *, heads: int, source: Path | str) -> Found:
    """The encoder that `state` belongs to; `heads` are those of its attention, which no file tells.

    Raises `WeightsError` where it is none of PathoDuet's; keys beyond its own are left to the loading to refuse.
    """
    if any(key.startswith(_BASE) for key in state):
        state = {key.removeprefix(_BASE): value for key, value in state.items() if key.startswith(_BASE)}
    if any(key.startswith("decoder_blocks.") for key in state):
        raise WeightsError(
            f"{source} holds the older multi-stain autoencoder, whose encoder was never published to be used by "
            "itself: take the H&E or IHC encoder (pathoduet-he, pathoduet-ihc)."
        )
    kept = {key: value for key, value in state.items() if not key.startswith(_OF_TRAINING)}
    _check(kept, source=source)
    stem = next((name for name, key in _STEMS.items() if key in kept), None)
    pools = [pool for pool, key in _NORMS.items() if key in kept]
    if stem is None or len(pools) != 1:
        found = "two final norms" if len(pools) > 1 else "no 'patch_embed.proj'" if stem is None else "no final norm"
        raise WeightsError(f"{source} is not a PathoDuet encoder, or not a whole one: it has {found}.")
    width = kept["cls_token"].shape[2]
    rows = kept["pos_embed"].shape[1]
    grid = math.isqrt(max(0, rows - PREFIX))
    if grid == 0 or grid * grid + PREFIX != rows:
        raise WeightsError(
            f"{source} is not a PathoDuet encoder: the {rows} rows of 'pos_embed' are no square of patches and "
            f"{PREFIX} in front."
        )
    try:
        config = VitConfig(
            size=grid * 16,
            width=width,
            depth=depth_of(kept, r"blocks\.(\d+)\."),
            heads=heads,
            mlp_ratio=kept["blocks.0.mlp.fc1.weight"].shape[0] / width,
            stem="conv" if stem == "conv" else "patch",
            pool="token" if pools == ["token"] else "avg",
        )
    except ValueError as error:
        raise WeightsError(f"{source} is not a PathoDuet encoder: {error}.") from error
    return Found(config=config, state=kept)


def _check(state: Mapping[str, Tensor], *, source: Path | str) -> None:
    if [key for key in _NEEDED if key not in state] == ["pretext_token"]:
        raise WeightsError(
            f"{source} holds a plain vision transformer, not PathoDuet's: it has no 'pretext_token'; load it as a "
            "model of its own kind, such as timm's."
        )
    check_entries(state, _NEEDED, what="a PathoDuet encoder", source=source)

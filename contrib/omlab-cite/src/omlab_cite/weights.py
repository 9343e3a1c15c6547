"""Which network a checkpoint holds, told by its keys, and its tensors under the names of `omlab_cite.network`.

CITE            `backbone.model.*`, `backbone.prompt`, `neck.*`: as upstream saves it (the tower whole, no texts)
CLIP            `visual.*` beside the text tower: OpenAI's as a state dict, open_clip's
transformers    `vision_model.*` and `visual_projection.weight` beside the text tower
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from omlab.errors import WeightsError
from omlab.weights import depth_of
from omlab_cite.vit import VitConfig

TOWER = "backbone.model."
PROMPT = "backbone.prompt"
_OWN = (PROMPT, "neck.")
_VISUAL = "visual."
_HUGGING_FACE = "vision_model."
_PROJECTION = "visual_projection.weight"
_RENAMED = (
    ("embeddings.class_embedding", "class_embedding"),
    ("embeddings.patch_embedding.", "conv1."),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("pre_layrnorm.", "ln_pre."),
    ("post_layernorm.", "ln_post."),
    ("encoder.layers.", "transformer.resblocks."),
    (".self_attn.out_proj.", ".attn.out_proj."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)
_TEXT_TOWER = (
    "text_model.", "text_projection", "transformer.", "token_embedding.", "positional_embedding", "ln_final.",
    "logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size",
)  # fmt: skip
"""Beginnings of what lies beside an image tower in CLIP's checkpoints."""
_PART = re.compile(r"(.+)\.self_attn\.([qkv])_proj\.(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a checkpoint holds.

    Attributes:
        config: Of the tower.
        state: Its tensors, by the names of `omlab_cite.network.Cite`.
        text_width: Of a projection that is in it.
        prompt: Layers and length of prompts that are in it.
        temperature: Of CLIP (`logit_scale`), where it is in it.
    """

    config: VitConfig
    state: Mapping[str, Tensor]
    text_width: int | None = None
    prompt: tuple[int, int] | None = None
    temperature: float | None = None


def recognise(state: Mapping[str, Tensor], *, source: Path | str) -> Found:
    """The network of a checkpoint. Raises `WeightsError` where it is no image tower of CLIP's form."""
    tower = _tower(state)
    conv, positions, proj = (tower.get(name) for name in ("conv1.weight", "positional_embedding", "proj"))
    if conv is None or positions is None or proj is None or conv.ndim != 4 or positions.ndim != 2:
        raise WeightsError(
            f"{source} holds no image tower of CLIP's Vision Transformers (its keys begin with "
            f"{', '.join(list(state)[:3])})."
        )
    grid = math.isqrt(len(positions) - 1)
    config = VitConfig(
        size=grid * conv.shape[-1],
        patch=conv.shape[-1],
        width=conv.shape[0],
        depth=depth_of(tower, r"transformer\.resblocks\.(\d+)\."),
        embed=proj.shape[1],
    )
    own = {name: value for name, value in state.items() if name.startswith(_OWN)}
    prompt, neck = own.get(PROMPT), own.get("neck.weight")
    scale = state.get("logit_scale")
    return Found(
        config=config,
        state={**{TOWER + name: value for name, value in tower.items()}, **own},
        text_width=None if neck is None else neck.shape[0],
        prompt=None if prompt is None else (prompt.shape[0], prompt.shape[1]),
        temperature=None if scale is None else float(scale),
    )


def _tower(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tower's tensors by CLIP's names; what is neither its nor known to lie beside it stays, to be refused."""
    if any(name.startswith(TOWER) for name in state):
        return {name.removeprefix(TOWER): value for name, value in state.items() if not name.startswith(_OWN)}
    if any(name.startswith(_VISUAL) for name in state):
        return {name.removeprefix(_VISUAL): value for name, value in state.items() if not name.startswith(_TEXT_TOWER)}
    if any(name.startswith(_HUGGING_FACE) for name in state):
        return _from_transformers({name: value for name, value in state.items() if not name.startswith(_TEXT_TOWER)})
    return dict(state)


def _from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values become one matrix, the projection is turned over, names are CLIP's."""
    found: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, value in state.items():
        if name.endswith("position_ids") or name == _PROJECTION:
            continue
        name = name.removeprefix(_HUGGING_FACE)
        part = _PART.fullmatch(name)
        if part is not None:
            parts.setdefault((part[1], part[3]), {})[part[2]] = value
            continue
        for theirs, ours in _RENAMED:
            name = name.replace(theirs, ours)
        found[name] = value
    for (block, what), three in parts.items():
        if len(three) == len("qkv"):
            place = block.replace("encoder.layers.", "transformer.resblocks.")
            found[f"{place}.attn.in_proj_{what}"] = torch.cat([three[letter] for letter in "qkv"])
    projection = state.get(_PROJECTION)
    return found if projection is None else {**found, "proj": projection.T.contiguous()}

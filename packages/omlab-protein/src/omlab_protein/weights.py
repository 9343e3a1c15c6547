"""Published checkpoints: the network that a file holds, told by its keys, and its tensors by our names.

PRIME 2023     model.embeddings..., lm_head...           25-row embedding, head of its own matrix
PRIME on a hub pro_prime.embeddings..., lm_head...       33 tokens; its pooled head is not known to us
transformers   esm.embeddings..., lm_head...
fair-esm       embed_tokens, layers.N.self_attn.q_proj, ..., with or without `encoder.sentence_encoder.` before it
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from omlab.errors import WeightsError
from omlab.weights import Weights, load_state_dict
from omlab_protein.alphabet import PAD
from omlab_protein.network import Esm, EsmConfig

T = TypeVar("T")
TRUNK = "esm."
_HEADS = {2560: 40, 5120: 40}
"""Heads of ESM-2 by width (3 B, 15 B); all others have 20."""
_EMBEDDING = "embeddings.word_embeddings.weight"
_POSITIONS = f"{TRUNK}embeddings.position_embeddings.weight"
_IGNORED = re.compile(r".*(inv_freq|position_ids)")
_CONTACTS = re.compile(r"(.*\.)?contact_head\.regression\.(weight|bias)")
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_PART = {
    "safetensors": re.compile(r"model-(\d+)-of-(\d+)\.safetensors"),
    "bin": re.compile(r"pytorch_model-(\d+)-of-(\d+)\.bin"),
}
"""Names of a large checkpoint's files: number and count of the part."""
_FAIR_PREFIX = re.compile(r"^(encoder\.)?(sentence_encoder\.)?")
_FAIR = (
    ("embed_tokens.", "embeddings.word_embeddings."),
    ("embed_positions.", "embeddings.position_embeddings."),
    ("emb_layer_norm_before.", "embeddings.layer_norm."),
    ("emb_layer_norm_after.", "encoder.emb_layer_norm_after."),
    ("self_attn_layer_norm.", "attention.LayerNorm."),
    ("self_attn.q_proj.", "attention.self.query."),
    ("self_attn.k_proj.", "attention.self.key."),
    ("self_attn.v_proj.", "attention.self.value."),
    ("self_attn.out_proj.", "attention.output.dense."),
    ("final_layer_norm.", "LayerNorm."),
    ("fc1.", "intermediate.dense."),
    ("fc2.", "output.dense."),
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file holds: the network, its tensors by our names, and the tensors that are none of its."""

    config: EsmConfig
    state: Mapping[str, Tensor]
    rest: Mapping[str, Tensor]


def read_checkpoint(weights: Weights) -> tuple[Path, dict[str, Tensor]]:
    """Where a checkpoint lies, and its tensors: of one file, or of a folder as transformers saves it, if in parts.

    Raises `WeightsError` where a part is not there, or as `Weights.state_dict` does.
    """
    if weights.folder is None:
        return weights.path(), weights.state_dict()
    for suffix in ("safetensors", "bin"):
        parts = {int(found[1]): found for name in weights.files if (found := _PART[suffix].fullmatch(name))}
        if parts:
            count = int(next(iter(parts.values()))[2])
            lacking = sorted(set(range(1, count + 1)) - set(parts))
            if lacking:
                raise WeightsError(
                    f"{weights.folder} lacks part {lacking[0]} of {count} of its checkpoint (.{suffix})."
                )
            tensors: dict[str, Tensor] = {}
            for number in sorted(parts):
                tensors |= weights.state_dict(parts[number][0])
            return weights.folder, tensors
    whole = next((name for name in _WHOLE if name in weights.files), None)
    return weights.path(whole), weights.state_dict(whole)


def recognise(state: Mapping[str, Tensor], *, source: Path | str) -> Found:
    """The network that `state` belongs to. Raises `WeightsError` where it is none of the known forms."""
    heads = _stated_heads(state)
    turns = any(key.endswith("inv_freq") for key in state)
    named = {key: value for key, value in _renamed(state, source=source).items() if not _IGNORED.fullmatch(key)}
    state = {key: value for key, value in named.items() if key.startswith((TRUNK, "lm_head."))}
    rest = {key: value for key, value in named.items() if key not in state}
    embedding = state[TRUNK + _EMBEDDING]
    layers = 1 + max(
        (int(match[1]) for key in state if (match := re.match(r"esm\.encoder\.layer\.(\d+)\.", key))), default=-1
    )
    first = f"{TRUNK}encoder.layer.0.intermediate.dense.weight"
    if layers == 0 or first not in state or embedding.ndim != 2:
        raise WeightsError(f"{source} is not a whole checkpoint of ESM or PRIME: it has no '{first}'.")
    vocabulary, width = embedding.shape
    positions = state.get(_POSITIONS)
    if turns:  # transformers once saved a table of positions that rotary networks never looked at
        state.pop(_POSITIONS, None)
        positions = None
    decoder = state.get("lm_head.decoder.weight")
    outputs = len(state["lm_head.bias"]) if "lm_head.bias" in state else 0
    tied = decoder is None or (decoder.shape == embedding.shape and torch.equal(decoder, embedding))
    if tied and outputs and decoder is None:
        state["lm_head.decoder.weight"] = embedding
    config = EsmConfig(
        layers=layers,
        width=width,
        heads=heads or _HEADS.get(width, 20),
        feed_forward=len(state[first]),
        vocabulary=vocabulary,
        outputs=outputs,
        tied=tied,
        positions="rotary" if positions is None else "learned",
        max_tokens=1024 if positions is None else len(positions) - PAD - 1,
        first_norm=f"{TRUNK}embeddings.layer_norm.weight" in state,
    )
    return Found(config=config, state=state, rest=rest)


def load_network(found: Found, *, source: Path | str) -> Esm:
    """The network with these weights. Raises `WeightsError` that names every missing or misshapen key."""
    network = allocate(found.config)
    load_state_dict(network, found.state, source=source)
    return network


def allocate(config: EsmConfig) -> Esm:
    """The network without values, to be filled."""
    with torch.device("meta"):
        network = Esm(config)
    network = network.to_empty(device="cpu")
    if network.lm_head is not None and config.tied:  # moving from meta parts them
        network.lm_head.decoder.weight = network.esm.embeddings.word_embeddings.weight
    return network.eval()


def _stated_heads(state: Mapping[str, Tensor]) -> int:
    """Heads, where a table of angles or the contact head tell; else 0."""
    for key, value in state.items():
        if key.endswith("inv_freq"):
            width = next((len(v) for k, v in state.items() if k.endswith("emb_layer_norm_after.weight")), 0)
            return int(width // (2 * len(value)))
    return 0


def our_names(keys: Iterable[str]) -> dict[str, str]:
    """The keys of a published checkpoint by our names for them, the contact head left out. Raises `WeightsError`."""
    return _renamed({key: key for key in keys}, source="the checkpoint")


def _renamed(state: Mapping[str, T], *, source: Path | str) -> dict[str, T]:
    state = {key: value for key, value in state.items() if not _CONTACTS.fullmatch(key)}
    of_fair = next((key for key in state if key.endswith("embed_tokens.weight")), None)
    if of_fair is not None:
        return {_from_fair(key): value for key, value in state.items()}
    ours = next((key for key in state if key.endswith(_EMBEDDING)), None)
    if ours is None:
        raise WeightsError(
            f"{source} is not a checkpoint of ESM or PRIME: it has no embedding of residues "
            f"(its keys begin with {', '.join(list(state)[:3])})."
        )
    prefix = ours.removesuffix(_EMBEDDING)
    parts = tuple(prefix + part for part in ("embeddings.", "encoder."))
    return {TRUNK + key.removeprefix(prefix) if key.startswith(parts) else key: v for key, v in state.items()}


def _from_fair(key: str) -> str:
    """Our name for one of fair-esm's."""
    key = _FAIR_PREFIX.sub("", key, count=1)
    if key.startswith("lm_head."):
        return "lm_head.decoder.weight" if key == "lm_head.weight" else key
    for theirs, ours in _FAIR:
        if f".{theirs}" in f".{key}":
            key = f".{key}".replace(f".{theirs}", f".{ours}", 1)[1:]
            break
    return TRUNK + (f"encoder.layer.{key.removeprefix('layers.')}" if key.startswith("layers.") else key)

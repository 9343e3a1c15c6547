"""Published checkpoints: what a file holds, and how its tensors come into our networks.

Keys are ours but for two things. Upstream keeps the index of each table (`relative_position_index`, int64) in its
files, which our networks compute; and the pre-training file has one table for all blocks, where fine-tuned networks
have one a block. Tables are brought to the network's grid (`omlab_usfm.tables`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from omlab.errors import SettingsError, WeightsError
from omlab.weights import depth_of, load_state_dict
from omlab_usfm.atm import NO_OBJECT_WEIGHT, AtmHead
from omlab_usfm.encoder import Encoder, EncoderConfig
from omlab_usfm.segmentation import SegVit, UperNet
from omlab_usfm.tables import Form, resize_table, table_side

INDEX = "relative_position_index"
TABLE = "relative_position_bias_table"
SHARED = f"rel_pos_bias.{TABLE}"
STARTS_ANEW = ("fc_norm.*", "norm.*", "head.*", "fpn*", "decoder.*")
"""What the pre-training file has not: it keeps the values that it is made with."""

HEADS = ("head.", "norm.", "fc_norm.", "decoder.", "fpn")
"""What of an encoder's file is taken only where the network has it too."""

Network = Encoder | SegVit | UperNet


def encoder_of(network: Network) -> Encoder:
    """The encoder in any of the networks."""
    return network if isinstance(network, Encoder) else network.backbone


def fitted(
    state: Mapping[str, Tensor], config: EncoderConfig, *, source: Path | str, form: Form = "clamped"
) -> dict[str, Tensor]:
    """The tensors of a published encoder for a network of `config`: tables by block, of its grid, without indices.

    What `config` leaves out on purpose (biases of queries and values, layer scale: `upstream_segvit`) is left out.

    Raises:
        WeightsError: There is no table where the network has some, or one that is none.
    """
    found = {key: value for key, value in state.items() if not key.endswith(INDEX)}
    if config.block_tables and SHARED in found:
        shared = found.pop(SHARED)
        own = {f"blocks.{number}.attn.{TABLE}": shared for number in range(config.depth)}
        found = {**own, **found}
    wants_tables = config.block_tables or config.shared_table
    if wants_tables and not any(key.endswith(TABLE) for key in found):
        raise WeightsError(f"{source} has no table of relative positions ('{SHARED}'), as USFM's files have.")
    resized: dict[str, Tensor] = {}
    for key, value in found.items():
        if not config.qv_bias and key.endswith(("attn.q_bias", "attn.v_bias")):
            continue
        if config.layer_scale is None and key.endswith(("gamma_1", "gamma_2")):
            continue
        resized[key] = _of_grid(value, key, config.grid, source=source, form=form) if key.endswith(TABLE) else value
    return resized


def _of_grid(table: Tensor, key: str, grid: int, *, source: Path | str, form: Form) -> Tensor:
    try:
        return resize_table(table, grid, form=form)
    except ValueError as error:
        raise WeightsError(f"{source}: '{key}' does not fit: {error}") from error


def load_encoder(network: Network, state: Mapping[str, Tensor], *, source: Path | str, form: Form = "clamped") -> None:
    """Copy a published encoder into a network, whose heads stay as they are.

    Raises:
        WeightsError: A tensor of the encoder is missing, unexpected or of another shape: it is named.
        SettingsError: Upstream's form of the tables has gaps at the network's grid.
    """
    check_is_encoder(state, source=source)
    encoder = encoder_of(network)
    heads = {key: value for key, value in state.items() if key.startswith(HEADS)}
    kept = {key: value for key, value in state.items() if key not in heads or _fits(heads[key], encoder, key)}
    tensors = fitted(kept, encoder.config, source=source, form=form)
    gaps = sum(int(value.isnan().sum()) for key, value in tensors.items() if key.endswith(TABLE))
    if gaps:
        raise SettingsError(
            f"tables=upstream leaves {gaps} entries of the tables of {source} undefined at "
            f"{encoder.config.image_size} px: take tables=clamped, or 512 px."
        )
    load_state_dict(encoder, tensors, missing=STARTS_ANEW, source=source)


def _fits(value: Tensor, encoder: Encoder, key: str) -> bool:
    own = encoder.state_dict().get(key)
    return own is not None and own.shape == value.shape


def check_is_encoder(state: Mapping[str, Tensor], *, source: Path | str) -> None:
    """Raise `WeightsError`, in one sentence that says what it looks like, where a file is no encoder of USFM."""
    if "patch_embed.proj.weight" in state and any(key.endswith(("q_bias", TABLE)) for key in state):
        return
    keys = ", ".join(list(state)[:3])
    if "patch_embed.proj.weight" in state and "pos_embed" in state:
        what = "looks like a plain vision transformer (MAE, DINO): it has absolute positions and no relative ones"
    elif any(key.startswith(("backbone.", "decode_head.")) for key in state):
        what = "looks like a whole segmentation network: take the encoder's file, or the adapted model's folder"
    elif any("patch_embed" in key for key in state):
        what = f"has an encoder under another name: its keys begin with {keys}"
    else:
        what = f"holds something else: its keys begin with {keys}"
    raise WeightsError(f"{source} is not an encoder of USFM: it {what}.")


def config_of(state: Mapping[str, Tensor], *, source: Path | str) -> EncoderConfig:
    """The configuration of the encoder that a file holds. Raises `WeightsError` where it holds none."""
    check_is_encoder(state, source=source)
    tables = [value for key, value in state.items() if key.endswith(TABLE)]
    if not tables:
        raise WeightsError(f"{source} has no table of relative positions ('{SHARED}'), as USFM's files have.")
    try:
        grid = table_side(tables[0])
    except ValueError as error:
        raise WeightsError(f"{source} is not an encoder of USFM: {error}") from error
    kernel = state["patch_embed.proj.weight"]
    width, channels, patch = (int(kernel.shape[axis]) for axis in (0, 1, 2))
    hidden = state.get("blocks.0.mlp.fc1.weight")
    return EncoderConfig(
        image_size=grid * patch,
        patch_size=patch,
        channels=channels,
        width=width,
        depth=depth_of(state, r"blocks\.(\d+)\."),
        heads=int(tables[0].shape[1]),
        mlp_ratio=4.0 if hidden is None else len(hidden) / width,
        qv_bias="blocks.0.attn.q_bias" in state,
        layer_scale=0.1 if "blocks.0.gamma_1" in state else None,
    )


def with_published_buffers(network: nn.Module) -> nn.Module:
    """`network`, whose state dict from now on has the buffers that upstream's files have beside the weights."""
    for module in list(network.modules()):
        if isinstance(getattr(module, INDEX, None), Tensor):
            module.register_buffer(INDEX, getattr(module, INDEX), persistent=True)
        if isinstance(module, AtmHead):
            weight = torch.ones(module.config.classes + 1)
            weight[-1] = NO_OBJECT_WEIGHT
            loss = nn.Module()
            loss.criterion = nn.Module()
            loss.criterion.register_buffer("empty_weight", weight)
            module.loss_decode = loss
    return network


def layers_of(network: Network) -> list[list[str]]:
    """Parameter names from input to head: embeddings, each block, the rest (norms, pyramid, heads, a shared table)."""
    names = [name for name, _ in network.named_parameters()]
    prefix = "" if isinstance(network, Encoder) else "backbone."
    start = tuple(f"{prefix}{name}" for name in ("cls_token", "pos_embed", "patch_embed."))
    parts = [start, *((f"{prefix}blocks.{number}.",) for number in range(encoder_of(network).config.depth))]
    layers = [[name for name in names if name.startswith(part)] for part in parts]
    placed = {name for layer in layers for name in layer}
    return [*layers, [name for name in names if name not in placed]]


def undecayed_of(network: Network) -> list[str]:
    """Names of parameters of two and more dimensions that have no weight decay: tokens and positions, not tables."""
    return [name for name, _ in network.named_parameters() if name.endswith(("cls_token", "pos_embed"))]

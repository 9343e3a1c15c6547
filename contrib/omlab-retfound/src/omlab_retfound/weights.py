"""Published checkpoints: which network a file holds, told by its keys, and its tensors by the names of that network.

    MAE, whole            encoder and `decoder_*` under `model`: the pre-training network as it was saved
    MAE, encoder alone    the same without `decoder_*`
    fine-tuned            an encoder with `head.*` under `model`; how many classes is read off `head.weight`
    DINOv2                under `teacher`, each key with `backbone.` before it, blocks in chunks or not; or a bare one
    Green                 a bare state dict with `reg_token`

Wrapper, prefix and what a card drops are taken off before (`omlab.weights`). Every key of the encoder must be there:
upstream's notebook loads the DINOv2 file without taking the prefix off, hence nothing, and says so nowhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from omlab.errors import SettingsError, WeightsError
from omlab.weights import check_entries, depth_of
from omlab_retfound.mae import DecoderConfig, MaskedAutoencoder, allocate_autoencoder
from omlab_retfound.positions import resized_table
from omlab_retfound.vit import Form, HeadNorm, Pool, RetFound, VitConfig, allocate

_HEAD_WIDTH = 64  # numbers of a token in each head, of every published encoder
_DECODER_HEAD_WIDTH = 32
_NEEDED = {"cls_token": 3, "pos_embed": 3, "patch_embed.proj.weight": 4, "blocks.0.mlp.fc1.weight": 2}
_HEADS_OF_DINO = ("dino_head.", "ibot_head.")
_BACKBONE = "backbone."
_CHUNKED = re.compile(r"blocks\.\d+\.(\d+)\.(.+)")
_SCALED = (".ls1.gamma", ".ls2.gamma")
_RENAMED = {".mlp.w12.": ".mlp.fc1.", ".mlp.w3.": ".mlp.fc2."}
_SAID: dict[Form, str] = {"mae": "MAE", "dinov2": "DINOv2", "green": "RETFound-Green"}
_MODELS: dict[Form, str] = {"mae": "retfound-mae", "dinov2": "retfound-dinov2", "green": "retfound-green"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file holds.

    Attributes:
        config: The encoder, with the classes of a head.
        decoder: That of a masked autoencoder.
        state: The tensors by the network's names.
    """

    config: VitConfig
    decoder: DecoderConfig | None
    state: Mapping[str, Tensor]

    def __str__(self) -> str:
        what = f"a classifier of {self.config.classes} classes" if self.config.classes else "an encoder"
        return f"{what} of the {_SAID[self.config.form]} form, {self.config.width} wide and {self.config.depth} deep"

    def allocate(self) -> RetFound | MaskedAutoencoder:
        """The network, whose values are still to be filled in."""
        if self.decoder is not None:
            return allocate_autoencoder(self.config, decoder=self.decoder)
        return allocate(self.config)


def recognise(state: Mapping[str, Tensor], *, source: Path | str) -> Found:
    """The network that `state` belongs to. Raises `WeightsError` where it is none of RETFound's."""
    state = _renamed(state)
    check_entries(state, _NEEDED, what="a RETFound checkpoint", source=source)
    form = _form(state)
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    grid = _grid(state, form=form, source=source)
    is_masked = any(key.startswith("decoder_") for key in state)
    config = VitConfig(
        form=form,
        size=grid * patch,
        patch=patch,
        width=width,
        depth=depth_of(state, r"blocks\.(\d+)\."),
        heads=max(1, width // _HEAD_WIDTH),
        mlp_ratio=state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        pool=_pool(state, form=form),
        classes=len(state["head.weight"]) if "head.weight" in state and not is_masked else 0,
    )
    return Found(config=config, decoder=_decoder(state, source=source) if is_masked else None, state=state)


def resized(found: Found, *, size: int) -> Found:
    """The same for images of another size: tables of positions are resized. Raises `SettingsError`."""
    config = found.config
    if size % config.patch:
        raise SettingsError(f"size is {size}, but must be a multiple of the patch, {config.patch} pixels.")
    grid = size // config.patch
    tables = {
        name: resized_table(found.state[name], grid=grid, prefix=config.prefix)
        for name in ("pos_embed", "decoder_pos_embed")
        if name in found.state
    }
    return replace(found, config=replace(config, size=size), state={**found.state, **tables})


def pooled(found: Found, *, pool: Pool, head_norm: HeadNorm) -> Found:
    """The same as an encoder that pools so, and with that form of the head where it has one.

    A head is of one pool, which the file tells. The final norm of an encoder by itself is that of tokens: where the
    mean is normed, it is left out as upstream does, and the mean's norm has a scale of 1 and no shift.
    """
    config = found.config
    if not config.classes:
        config = replace(config, pool=pool)
    if config.norms_the_mean and config.classes:
        config = replace(config, head_norm=head_norm)
    state = dict(found.state)
    if found.decoder is None and config.norms_the_mean and "fc_norm.weight" not in state:
        state = {key: value for key, value in state.items() if key not in ("norm.weight", "norm.bias")}
        state |= {"fc_norm.weight": torch.ones(config.width), "fc_norm.bias": torch.zeros(config.width)}
    return replace(found, config=config, state=state)


def check_form(found: Found, *, form: Form, source: Path | str) -> None:
    """Raise `WeightsError` where a file is not the encoder asked for, and say as what it can be loaded."""
    if found.config.classes:
        raise WeightsError(f"{source} holds {found}, fine-tuned: load it as retfound-classifier.")
    if found.config.form != form:
        raise WeightsError(
            f"{source} holds {found}, not of the {_SAID[form]} form: load it as {_MODELS[found.config.form]}."
        )


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as timm has them: without DINOv2's prefix, heads and mask, its chunks of blocks and its names of MLPs."""
    if any(key.startswith(_BACKBONE) for key in state):  # a user's file, for which no card has told
        state = {key.removeprefix(_BACKBONE): value for key, value in state.items()}
    is_dino = any(key.endswith(_SCALED) for key in state)
    renamed = {}
    for key, value in state.items():
        if key.startswith(_HEADS_OF_DINO) or (is_dino and key == "mask_token"):
            continue
        chunked = _CHUNKED.fullmatch(key)
        name = f"blocks.{chunked[1]}.{chunked[2]}" if chunked else key
        for theirs, ours in _RENAMED.items():
            name = name.replace(theirs, ours)
        renamed[name] = value
    return renamed


def _form(state: Mapping[str, Tensor]) -> Form:
    if "reg_token" in state:
        return "green"
    return "dinov2" if any(key.endswith(_SCALED) for key in state) else "mae"


def _grid(state: Mapping[str, Tensor], *, form: Form, source: Path | str) -> int:
    """Patches along a side, off the table of positions."""
    rows = state["pos_embed"].shape[1]
    prefix = 0 if form == "green" else 1
    grid = math.isqrt(max(0, rows - prefix))
    if grid * grid + prefix != rows:
        hint = " ('reg_token' is missing?)" if form == "dinov2" and math.isqrt(rows) ** 2 == rows else ""
        raise WeightsError(
            f"{source} is not a RETFound checkpoint: the {rows} rows of 'pos_embed' are no square of patches and "
            f"{prefix} in front{hint}."
        )
    return grid


def _pool(state: Mapping[str, Tensor], *, form: Form) -> Pool:
    """Of a classifier what its norm tells; of an encoder the published one."""
    if form == "dinov2":
        return "token"
    return "token" if form == "mae" and "head.weight" in state and "fc_norm.weight" not in state else "avg"


def _decoder(state: Mapping[str, Tensor], *, source: Path | str) -> DecoderConfig:
    depth = depth_of(state, r"decoder_blocks\.(\d+)\.")
    embed = state.get("decoder_embed.weight")
    if embed is None or embed.ndim != 2 or not depth:
        raise WeightsError(f"{source} has part of a decoder, but no 'decoder_embed.weight' of two axes and its blocks.")
    width = len(embed)
    return DecoderConfig(width=width, depth=depth, heads=max(1, width // _DECODER_HEAD_WIDTH))

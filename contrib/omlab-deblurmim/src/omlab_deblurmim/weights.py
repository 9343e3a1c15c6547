"""Published checkpoints: what a file holds, and how its tensors come into our networks.

The four published files are pre-trained autoencoders, whose keys are ours. A classifier or a segmentation network takes
the encoder from them; positions are brought to the grid. A fine-tuned segmentation network was published as a whole
pickled module (`state_of_segmenter`).
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab.errors import WeightsError
from omlab.weights import Weights, load_state_dict, read_module_state, save_state_dict
from omlab_deblurmim.autoencoder import ConvMae, DecoderConfig, Mae
from omlab_deblurmim.convvit import ConvConfig, ConvStages, ConvVit
from omlab_deblurmim.segmentation import Segmenter, TableAttention
from omlab_deblurmim.vit import Vit, VitConfig

POSITIONS = "pos_embed"
INDEX = "relative_position_index"
APART = (
    "norm.*",
    "fc_norm.*",
    "head.*",
    "mask_token",
    "decoder_*",
    "stage1_output_decode.*",
    "stage2_output_decode.*",
    "fpn*",
    "blocks*.gamma_1",
    "blocks*.gamma_2",
    "blocks*.relative_position_bias_table",
)
"""What one kind of network has beside its encoder and another has not: taken where both have it, else as it is made."""

Network = Vit | ConvVit | Segmenter | Mae | ConvMae


def encoder_of(network: Network) -> Any:
    """The encoder in any of the networks."""
    return network.encoder if isinstance(network, Segmenter) else network


def is_convolutional(state: Mapping[str, Tensor], *, source: Path | str) -> bool:
    """Whether a file holds ConvMAE's encoder (True) or a plain one.

    Raises `WeightsError`, in one sentence that says what it looks like, where it holds neither.
    """
    if "patch_embed1.proj.weight" in state and POSITIONS in state:
        return True
    if "patch_embed.proj.weight" in state and POSITIONS in state and "blocks.0.attn.qkv.bias" in state:
        return False
    keys = ", ".join(list(state)[:3])
    if any(key.startswith(("encoder.", "module.encoder.")) for key in state):
        what = "looks like a whole segmentation network: take a pre-trained file, or the adapted model's folder"
    elif any(key.endswith("relative_position_bias_table") for key in state):
        what = "looks like a BEiT: it has relative positions in place of absolute ones"
    else:
        what = f"holds something else: its keys begin with {keys}"
    raise WeightsError(f"{source} is no encoder of deblurring MIM: it {what}.")


def config_of(state: Mapping[str, Tensor], *, source: Path | str) -> VitConfig | ConvConfig:
    """The configuration of the encoder that a file holds; its heads, which leave no trace, by its width.

    Raises `WeightsError` where it holds none, or part of one.
    """
    is_conv = is_convolutional(state, source=source)
    try:
        return _conv_config(state) if is_conv else _vit_config(state)
    except (KeyError, IndexError) as error:
        raise WeightsError(f"{source} is not a whole encoder of deblurring MIM: it lacks {error}.") from error


def _vit_config(state: Mapping[str, Tensor]) -> VitConfig:
    kernel = state["patch_embed.proj.weight"]
    width, patch = int(kernel.shape[0]), int(kernel.shape[2])
    grid = round((state[POSITIONS].shape[1] - 1) ** 0.5)
    return VitConfig(
        image_size=grid * patch,
        patch_size=patch,
        width=width,
        depth=_count(state, "blocks."),
        heads=_heads(width),
        mlp_ratio=len(state["blocks.0.mlp.fc1.weight"]) / width,
    )


def _conv_config(state: Mapping[str, Tensor]) -> ConvConfig:
    kernels = [state[f"patch_embed{number}.proj.weight"] for number in (1, 2, 3)]
    first, second, third = (len(kernel) for kernel in kernels)
    patches = (int(kernels[0].shape[2]), int(kernels[1].shape[2]), int(kernels[2].shape[2]))
    hidden = [len(state[f"blocks{number}.0.mlp.fc1.weight"]) for number in (1, 2, 3)]
    return ConvConfig(
        image_size=round(state[POSITIONS].shape[1] ** 0.5) * patches[0] * patches[1] * patches[2],
        patches=patches,
        widths=(first, second, third),
        depths=(_count(state, "blocks1."), _count(state, "blocks2."), _count(state, "blocks3.")),
        heads=_heads(third),
        mlp_ratios=(hidden[0] / first, hidden[1] / second, hidden[2] / third),
    )


def _heads(width: int) -> int:
    """Of an encoder: 12 of the base size, 16 of the others, else as many as have 64 numbers each."""
    return {768: 12, 1024: 16, 1280: 16}.get(width, max(1, width // 64))


def decoder_config_of(state: Mapping[str, Tensor]) -> DecoderConfig | None:
    """The configuration of the decoder in a file; None: it has none."""
    kernel = state.get("decoder_embed.weight")
    hidden = state.get("decoder_blocks.0.mlp.fc1.weight")
    if kernel is None or hidden is None:
        return None
    width = len(kernel)
    return DecoderConfig(
        width=width,
        depth=_count(state, "decoder_blocks."),
        heads=max(1, width // 32),
        mlp_ratio=len(hidden) / width,
    )


def _count(state: Mapping[str, Tensor], beginning: str) -> int:
    numbers = {int(key[len(beginning) :].split(".")[0]) for key in state if key.startswith(beginning)}
    if not numbers:
        raise KeyError(f"{beginning}0")
    return max(numbers) + 1


def load_autoencoder(network: Network, state: Mapping[str, Tensor], *, source: Path | str) -> None:
    """Copy a whole pre-trained autoencoder. Raises `WeightsError` that names what does not fit."""
    load_state_dict(network, state, source=source)


def state_of_segmenter(weights: Weights) -> dict[str, Tensor]:
    """The tensors of a fine-tuned segmentation network: of a state dict, or of the whole network, pickled.

    Upstream publishes it pickled, wrapped in DataParallel; nothing of it is built (`omlab.weights.read_module_state`).

    Raises:
        WeightsError: The file is neither.
    """
    try:
        return weights.state_dict()
    except WeightsError as error:
        try:
            return read_module_state(weights.path())
        except WeightsError:
            raise error from None


def load_segmenter(network: Segmenter, state: Mapping[str, Tensor], *, source: Path | str) -> None:
    """Copy a whole segmentation network. Raises `WeightsError` that names what does not fit."""
    kept = {key.removeprefix("module."): value for key, value in state.items() if not key.endswith(INDEX)}
    load_state_dict(network, kept, source=source)


def convert(source: Path, target: Path) -> int:
    """Write a segmentation network that upstream pickled as safetensors, without its indices; how many tensors.

    Raises:
        WeightsError: `source` does not hold a whole network.
        OutputError: `target` cannot be written.
    """
    state = {key: value for key, value in read_module_state(source).items() if not key.endswith(INDEX)}
    save_state_dict(state, target)
    return len(state)


def load_encoder(network: Network, state: Mapping[str, Tensor], *, source: Path | str) -> None:
    """Copy a pre-trained encoder into a network, whose head and decoder stay as they are.

    Raises:
        WeightsError: A tensor of the encoder is missing, unexpected or of another shape: it is named.
    """
    encoder = encoder_of(network)
    if is_convolutional(state, source=source) != isinstance(encoder, ConvStages):
        found, other = ("a plain", "deblurmim") if isinstance(encoder, ConvStages) else ("ConvMAE's", "deblurmim-conv")
        raise WeightsError(f"{source} holds {found} encoder: load it as {other}.")
    own = encoder.state_dict()
    first = int("cls_token" in own)
    positions = resized_positions(state[POSITIONS], tokens=own[POSITIONS].shape[1], first=first)
    kept = {
        key: value
        for key, value in state.items()
        if not _is_apart(key) or (key in own and own[key].shape == value.shape)
    }
    load_state_dict(encoder, {**kept, POSITIONS: positions}, missing=APART, source=source)


def _is_apart(key: str) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in APART)


def resized_positions(table: Tensor, *, tokens: int, first: int) -> Tensor:
    """A table (1, first + n^2, D) of positions for another grid, bicubic; the `first` rows stay."""
    if table.shape[1] == tokens:
        return table
    old, new = round((table.shape[1] - first) ** 0.5), round((tokens - first) ** 0.5)
    grid = table[:, first:].reshape(1, old, old, -1).permute(0, 3, 1, 2).float()
    larger = functional.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    rows = larger.permute(0, 2, 3, 1).reshape(1, new * new, -1).to(table)
    return torch.cat([table[:, :first], rows], dim=1)


def with_published_buffers(network: nn.Module) -> nn.Module:
    """`network`, whose state dict from now on has the indices of its tables, as upstream's files have."""
    for module in network.modules():
        if isinstance(module, TableAttention):
            module.register_buffer(INDEX, module.get_buffer(INDEX), persistent=True)
    return network


def layers_of(network: Network) -> list[list[str]]:
    """Parameter names from input to head: embeddings with the convolutional stages, each block, the rest."""
    names = [name for name, _ in network.named_parameters()]
    prefix = "encoder." if isinstance(network, Segmenter) else ""
    encoder = encoder_of(network)
    if isinstance(encoder, ConvStages):
        blocks, count = "blocks3.", encoder.config.depths[2]
        begins: tuple[str, ...] = ("pos_embed", "patch_embed", "blocks1.", "blocks2.")
    else:
        blocks, count = "blocks.", encoder.config.depth
        begins = ("cls_token", "pos_embed", "patch_embed.")
    parts = [tuple(f"{prefix}{name}" for name in begins)]
    parts += [(f"{prefix}{blocks}{number}.",) for number in range(count)]
    layers = [[name for name in names if name.startswith(part)] for part in parts]
    placed = {name for layer in layers for name in layer}
    return [*layers, [name for name in names if name not in placed]]


def undecayed_of(network: nn.Module) -> list[str]:
    """Names of parameters of two and more dimensions that have no weight decay: tokens and positions."""
    return [name for name, _ in network.named_parameters() if name.endswith(("cls_token", "pos_embed"))]

"""Published checkpoints: which network a file holds, and how its weights get into ours.

Our keys are the published ones, so loading renames nothing and drops nothing. The published files keep the weights
under `model_state_dict` (the cards' `wrapper`), beside what the training script knew; `omlab weights convert` writes
the weights alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from omlab.errors import UsageError, WeightsError
from omlab.weights import check_entries, depth_of, load_state_dict
from omlab_sammed3d.attention import RelPos
from omlab_sammed3d.network import SamMed3d, SamMed3dConfig

_POS_EMBED = "image_encoder.pos_embed"
_PATCH = "image_encoder.patch_embed.proj.weight"
_BLOCK = r"image_encoder\.blocks\.(\d+)\."
_TABLE = "image_encoder.blocks.{}.attn.rel_pos_d"
_BOXES = ("prompt_encoder.point_embeddings.2.weight", "prompt_encoder.point_embeddings.3.weight")
_NEEDED = {
    _POS_EMBED: 5,
    _PATCH: 5,
    _TABLE.format(0): 2,
    "prompt_encoder.no_mask_embed.weight": 2,
    "prompt_encoder.point_embeddings.0.weight": 2,
    "mask_decoder.mask_tokens.weight": 2,
}


def config_from_state(
    state: Mapping[str, Tensor], *, source: Path | str, rel_pos: RelPos = "sam-med3d"
) -> SamMed3dConfig:
    """The configuration of the network that `state` belongs to.

    The form of the relative position leaves no trace in the weights and is taken as given. A block is global
    where its tables have the length of the grid. What a state has of a block or of boxes says that all of it
    belongs there, so that a key which is missing is named and not those beside it. Raises `WeightsError` for
    another network's state.
    """
    depth = depth_of(state, _BLOCK)
    tables = {_TABLE.format(n): 2 for n in range(depth)}
    check_entries(state, _NEEDED | tables, what="a SAM-Med3D checkpoint", source=source)
    grid, width = state[_POS_EMBED].shape[1], state[_POS_EMBED].shape[4]
    patch = state[_PATCH].shape[-1]
    sizes = [(len(state[_TABLE.format(n)]) + 1) // 2 for n in range(depth)]
    windows = set(sizes) - {grid}
    if len(windows) > 1:
        raise WeightsError(f"{source} is not a SAM-Med3D checkpoint: its blocks have windows of {sorted(windows)}.")
    try:
        return SamMed3dConfig(
            image_size=grid * patch,
            patch=patch,
            width=width,
            depth=depth,
            heads=width // state[_TABLE.format(0)].shape[1],
            global_blocks=tuple(n for n, size in enumerate(sizes) if size == grid),
            window=next(iter(windows), SamMed3dConfig.window),
            prompt_width=state["prompt_encoder.no_mask_embed.weight"].shape[1],
            multimask_outputs=len(state["mask_decoder.mask_tokens.weight"]) - 1,
            point_embeddings=4 if any(key in state for key in _BOXES) else 2,
            rel_pos=rel_pos,
        )
    except (ValueError, ZeroDivisionError) as error:
        raise WeightsError(f"{source} is not a SAM-Med3D checkpoint: {error}") from error


def load_network(
    state: Mapping[str, Tensor],
    *,
    source: Path | str,
    image_size: int | None = None,
    rel_pos: RelPos = "sam-med3d",
    config: SamMed3dConfig | None = None,
) -> SamMed3d:
    """The network of a state, in eval mode; for another image size its positions are resized, as the authors advise.

    Args:
        state: Its weights by name (`omlab.weights.Weights.state_dict`).
        source: Where `state` comes from, for messages.
        image_size: Side of the images in voxels; None: the one that the weights were trained with.
        rel_pos: `sam-med3d` for all published weights.
        config: The network's, where more is known of it than its weights tell.

    Raises:
        WeightsError: Names every key that is missing, unexpected or of another shape.
        UsageError: The image size is not a multiple of the patch size.
    """
    config = config or config_from_state(state, source=source, rel_pos=rel_pos)
    network = _allocate(config)
    load_state_dict(network, state, source=source)
    if image_size is None or image_size == config.image_size:
        return network
    if image_size < 1 or image_size % config.patch:
        raise UsageError(f"The image size must be a multiple of {config.patch} voxels, not {image_size}.")
    return resized(network, image_size=image_size)


def resized(network: SamMed3d, *, image_size: int) -> SamMed3d:
    """A copy for images of another side: positions trilinearly, tables of global blocks linearly resized."""
    config = SamMed3dConfig(**{**vars(network.config), "image_size": image_size})
    other = _allocate(config)
    own = other.state_dict()
    changed = {}
    for key, value in network.state_dict().items():
        if key == _POS_EMBED:
            size = own[key].shape[1:4]
            channels_first = functional.interpolate(
                value.movedim(-1, 1), size=size, mode="trilinear", align_corners=False
            )
            changed[key] = channels_first.movedim(1, -1)
        elif ".rel_pos_" in key and value.shape != own[key].shape:
            rows = len(own[key])
            changed[key] = functional.interpolate(value.T[None], size=rows, mode="linear", align_corners=False)[0].T
        else:
            changed[key] = value
    load_state_dict(other, changed, source=f"the network of {network.config.image_size}^3 voxels")
    return other


def _allocate(config: SamMed3dConfig) -> SamMed3d:
    """A network on the CPU in eval mode whose values are still to be filled in (drawing them twice takes long)."""
    with torch.device("meta"):
        network = SamMed3d(config)
    return network.to_empty(device="cpu").eval()

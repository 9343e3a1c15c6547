"""Published checkpoints: which network a file holds, and how it is read at another image size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional

from omlab.errors import WeightsError
from omlab.weights import check_entries, depth_of, load_state_dict
from omlab_sam.network import Sam

TRAINED_ANEW = ("mask_tokens", "output_hypernetworks_mlps", "iou_prediction_head")
"""Parts of the decoder that SAM-Med2D does not take over from a SAM file of another image size."""

_POS_EMBED = "image_encoder.pos_embed"
_PATCH = "image_encoder.patch_embed.proj.weight"
_BLOCK = r"image_encoder\.blocks\.(\d+)\."
_TABLE = "image_encoder.blocks.{}.attn.rel_pos_h"
_NEEDED = {
    _POS_EMBED: 4,
    _PATCH: 4,
    _TABLE.format(0): 2,
    "prompt_encoder.no_mask_embed.weight": 2,
    "mask_decoder.mask_tokens.weight": 2,
}


def shape_of(state: Mapping[str, Tensor], *, source: Path | str) -> dict[str, Any]:
    """The arguments of `Sam` for the network that a state belongs to.

    A block is global where its tables have the length of the grid. Raises `WeightsError` for another network's state.
    """
    depth = depth_of(state, _BLOCK)
    tables = {_TABLE.format(n): 2 for n in range(depth)}
    check_entries(state, _NEEDED | tables, what="a SAM checkpoint", source=source)
    grid, width = state[_POS_EMBED].shape[1], state[_POS_EMBED].shape[3]
    patch = state[_PATCH].shape[-1]
    sizes = [(len(state[_TABLE.format(n)]) + 1) // 2 for n in range(depth)]
    windows = set(sizes) - {grid}
    if len(windows) > 1 or width % state[_TABLE.format(0)].shape[1]:
        raise WeightsError(f"{source} is not a SAM checkpoint: its tables are for windows of {sorted(set(sizes))}.")
    return {
        "image_size": grid * patch,
        "embed_dim": width,
        "depth": depth,
        "num_heads": width // state[_TABLE.format(0)].shape[1],
        "global_attn_indexes": [n for n, size in enumerate(sizes) if size == grid],
        "window_size": next(iter(windows), 14),
        "adapters": any(".Adapter." in key for key in state),
        "patch_size": patch,
        "out_chans": state["prompt_encoder.no_mask_embed.weight"].shape[1],
        "num_multimask_outputs": len(state["mask_decoder.mask_tokens.weight"]) - 1,
    }


def load_sam(
    state: Mapping[str, Tensor],
    *,
    source: Path | str,
    image_size: int | None = None,
    adapters: bool | None = None,
) -> Sam:
    """The network of a state, in eval mode.

    Args:
        state: Its entries by name.
        source: Where they come from, for messages.
        image_size: Side of the images that it is to see. Where the state was made for another one its position tables
            are resized, and what `TRAINED_ANEW` names keeps the values of a new network.
        adapters: Whether it is to have adapters: those of the state are dropped, or new ones are made. None: as the
            state has it.

    Raises:
        WeightsError: Names every key that is missing, unexpected or of another shape.
        ValueError: The image size is not a multiple of what the network needs.
    """
    shape = shape_of(state, source=source)
    own = (shape["image_size"], shape["adapters"])
    wanted = (image_size or own[0], own[1] if adapters is None else adapters)
    sam = Sam(**{**shape, "image_size": wanted[0], "adapters": wanted[1]}).eval()
    entries = {key: value for key, value in state.items() if wanted[1] or ".Adapter." not in key}
    fresh = {key: value for key, value in sam.state_dict().items() if ".Adapter." in key and not own[1]}
    if wanted[0] != own[0]:
        entries = resized(
            taken_over(entries), shapes={key: tuple(value.shape) for key, value in sam.state_dict().items()}
        )
        fresh |= {key: value for key, value in sam.state_dict().items() if any(part in key for part in TRAINED_ANEW)}
    load_state_dict(sam, {**fresh, **entries}, source=source)
    return sam


def resized(state: Mapping[str, Tensor], *, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Entries of a checkpoint with their position tables brought to the network's shapes.

    `image_encoder.pos_embed` (1, S, S, C) is resized bilinearly over its grid, each `rel_pos_h` and `rel_pos_w` of
    other length bilinearly as a picture of (positions, channels), which is linear along its rows; both with
    align_corners off. Everything else, and what the network does not have, stays as it is.

    Args:
        state: Entries of the checkpoint.
        shapes: The shape of each entry of the network.
    """
    done = dict(state)
    for key, table in state.items():
        shape = shapes.get(key)
        if shape is None or tuple(table.shape) == tuple(shape):
            continue
        if key.endswith("image_encoder.pos_embed") and table.ndim == 4:
            done[key] = _bilinear(table.movedim(-1, 1), (shape[1], shape[2])).movedim(1, -1).contiguous()
        elif key.endswith((".rel_pos_h", ".rel_pos_w")) and table.ndim == 2:
            done[key] = _bilinear(table[None, None], (shape[0], shape[1]))[0, 0]
    return done


def taken_over(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A SAM file's entries without those that SAM-Med2D trains anew when it begins from one of another image size."""
    return {key: value for key, value in state.items() if not any(part in key for part in TRAINED_ANEW)}


def _bilinear(table: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(table, size=size, mode="bilinear", align_corners=False)

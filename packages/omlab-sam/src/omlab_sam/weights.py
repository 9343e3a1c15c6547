"""Published checkpoints at another image size: what is resized, and what is trained anew."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

TRAINED_ANEW = ("mask_tokens", "output_hypernetworks_mlps", "iou_prediction_head")
"""Parts of the decoder that SAM-Med2D does not take over from a SAM file of another image size."""


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

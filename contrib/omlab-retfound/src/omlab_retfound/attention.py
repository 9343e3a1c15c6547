"""Where a network looks: attention followed through all blocks, as a map of the patches and as a picture.

Source: Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020 (attention rollout).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from omlab_retfound.retarget import Network

_HEAT = np.array([(0, 0, 0), (200, 0, 0), (255, 200, 0), (255, 255, 255)], np.float64)
_OPACITY = 0.5


def rollout(network: Network, images: Tensor) -> Tensor:
    """How much of each patch is in what stands for an image: (B, 3, S, S) -> (B, grid, grid).

    Each block hands on half of a token as it is and half by the mean of its heads' attention; the product over blocks
    is read for the class token, or for the mean of the patches, whichever the network pools.
    """
    x = network.embedded(images)
    N = x.shape[1]
    stays = torch.eye(N, device=x.device, dtype=x.dtype)
    flow = stays.expand(len(x), N, N)
    for block in network.blocks:
        flow = (0.5 * attention_of(block, x).mean(dim=1) + 0.5 * stays) @ flow
        x = block(x)
    grid = network.config.grid
    first = N - grid * grid
    read = flow[:, 0] if network.config.pool == "token" else flow[:, first:].mean(dim=1)
    return read[:, first:].reshape(-1, grid, grid)


def attention_of(block: Any, x: Tensor) -> Tensor:
    """The attention of a block of timm to its tokens, (B, N, D) -> (B, heads, N, N); rows sum to 1."""
    layer = block.attn
    q, k, _ = layer.qkv(block.norm1(x)).unflatten(2, (3, layer.num_heads, -1)).permute(2, 0, 3, 1, 4)
    scores: Tensor = layer.q_norm(q) * layer.scale @ layer.k_norm(k).transpose(-1, -2)
    return scores.softmax(dim=-1)


def heat(patches: Tensor, *, size: int) -> NDArray[np.float32]:
    """A map of patches (grid, grid) on the pixels of a square of side `size`, its least value 0 and its greatest 1."""
    enlarged = functional.interpolate(patches[None, None].float(), size=(size, size), mode="bicubic")[0, 0]
    low, high = enlarged.aminmax()
    return np.asarray(((enlarged - low) / (high - low).clamp_min(1e-12)).cpu().numpy(), np.float32)


def drawn_over(seen: Tensor, hot: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What a network sees (3, S, S), its colours stretched to what can be shown, under the heat (S, S): [S, S, 3]."""
    low, high = seen.aminmax()
    shown = 255 * ((seen - low) / (high - low).clamp_min(1e-12)).permute(1, 2, 0).cpu().numpy()
    steps = np.linspace(0, 1, len(_HEAT))
    colours = np.stack([np.interp(hot, steps, channel) for channel in _HEAT.T], axis=2)
    return np.asarray(np.rint((1 - _OPACITY) * shown + _OPACITY * colours), np.uint8)

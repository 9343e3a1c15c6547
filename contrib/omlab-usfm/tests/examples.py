"""Published files of this package, made up: its models read them by themselves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from omlab_usfm.encoder import Encoder, EncoderConfig


def state_dicts(card: Any, tag: str) -> dict[str, dict[str, Tensor]]:
    """The pre-training file: one table for all blocks, no head; the kit leaves fc_norm out and puts indices in."""
    encoder = Encoder(EncoderConfig(image_size=32, width=48, depth=2, heads=3, block_tables=False, shared_table=True))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.1)
    return {"USFM_latest.pth": dict(encoder.state_dict())}

"""What the test kit is given: a small segmenter in place of the published one."""

from __future__ import annotations

from typing import Any

import torch

from omlab.session import Session
from omlab_medlsam.medsam import TINY, MedSam
from omlab_sam.network import Sam
from omlab_testkit.stand_ins import session

DOES = {
    "predict": {
        "takes": {"volume": "volume", "prompts": "prompts"},
        "accepts": {"prompts": ["boxes"]},
        "gives": "labelmap",
        "grid": "volume",
    }
}


def state_dicts(card: str, tag: str) -> dict[str, dict[str, torch.Tensor]] | None:
    """A small SAM as a file: the size of the network comes from there."""
    if not card.startswith("medsam"):
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam: Any = Sam(**TINY)
    name = {"medsam-vit-b": "medsam_vit_b.pth", "sam-vit-b": "sam_vit_b_01ec64.pth"}[tag]
    return {name: dict(sam.state_dict())}


def needs(card: str) -> dict[str, Session] | None:
    """A tiny MedSAM of fixed weights."""
    if not card.startswith("medlsam"):
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam: Any = Sam(**TINY)
    return {"segmenter": session(MedSam(sam, legacy=False, device="cpu"), does=DOES)}

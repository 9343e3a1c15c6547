"""Files load whatever wrappers they have, and what is no BROW checkpoint is said in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import omlab
from omlab.errors import WeightsError
from omlab_brow.distillation import SelfDistillation
from omlab_brow.images import Seen
from omlab_brow.vit import VitConfig, untrained
from omlab_brow.weights import recognise
from omlab_image import Image
from omlab_payloads.embedding import Embedding
from omlab_train.distillation import HeadConfig

SMALL = VitConfig(size=64, width=128, depth=2, heads=2)


def state() -> dict[str, Tensor]:
    return dict(untrained(SMALL).state_dict())


@pytest.mark.parametrize("form", ["plain", "teacher", "both", "ours"])
def test_every_form_of_a_file_gives_the_same_features(tmp_path: Path, form: str) -> None:
    own = state()
    wrapped: dict[str, Any] = {f"module.backbone.{key}": value for key, value in own.items()}
    wrapped |= {"module.head.mlp.0.weight": torch.zeros(3, 128)}
    if form == "ours":
        module = SelfDistillation(SMALL, head=HeadConfig(outputs=4, hidden=4, bottleneck=4))
        module.teacher.backbone.load_state_dict(own)
        module.student.backbone.cls_token.data.add_(1)
        saved: dict[str, Any] = dict(module.state_dict())
    else:
        files: dict[str, dict[str, Any]] = {
            "plain": own,
            "teacher": {"teacher": wrapped, "epoch": 3},
            "both": {"teacher": wrapped, "student": {key: value + 1 for key, value in wrapped.items()}},
        }
        saved = files[form]
    torch.save(saved, tmp_path / "brow.pth")
    session = omlab.load_model("brow.published", weights=tmp_path / "brow.pth")
    picture = Image(array=np.random.default_rng(0).integers(0, 256, (80, 80, 3)).astype(np.uint8))
    found = session.embed(picture)
    assert isinstance(found, Embedding)
    with torch.inference_mode():
        wanted = untrained(SMALL).features(Seen(size=64)(picture)[None])
    torch.testing.assert_close(torch.from_numpy(found.vector), wanted[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda own: own.pop("cls_token"), r"it has no 'cls_token' \(its keys begin with"),
        (lambda own: own.update(pos_embed=torch.zeros(1, 16, 128)), "the 16 rows of 'pos_embed' are no square"),
        (lambda own: own.update(cls_token=torch.zeros(128)), r"'cls_token' has the shape \(128,\)"),
    ],
)
def test_what_is_none_of_them_is_said(change: Any, said: str) -> None:
    own = state()
    change(own)
    with pytest.raises(WeightsError, match=said):
        recognise(own, source="file.pth")

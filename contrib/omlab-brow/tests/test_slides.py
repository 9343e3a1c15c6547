"""BROW on slides: bags of features, and the published classifiers' files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import omlab
from omlab.errors import WeightsError
from omlab_brow.slide_tasks import SLIDE_TASKS
from omlab_brow.slides import TASKS
from omlab_brow.vit import VitConfig, untrained
from omlab_payloads.classes import Classes
from omlab_slide.bag import Bag
from omlab_slide.mil.clam import Clam, ClamConfig
from omlab_slide.testing import draw_slide, held


def published(path: Path, *, classes: int, width: int = 768) -> Path:
    """A file as upstream's training writes it, with the buffer of the instance loss."""
    torch.manual_seed(0)
    state: dict[str, Any] = Clam(ClamConfig(embed_dim=width, n_classes=classes)).state_dict()
    torch.save({**state, "instance_loss_fn.labels": torch.arange(2)}, path)
    return path


def bag(features: Any) -> Bag:
    count = len(features)
    return Bag(
        features=features,
        coords=np.stack([np.arange(count, dtype=np.int32) * 256] * 2, axis=1),
        share=np.ones(count, np.float16),
        size0=256,
        dimensions=(256 * count, 256 * count),
        mpp=0.25,
        encoder={"name": "brow-slide"},
    )


@pytest.mark.parametrize("name", TASKS)
def test_a_published_file_tells_the_classes_of_its_table(tmp_path: Path, name: str) -> None:
    classes = SLIDE_TASKS[TASKS[name]].classes
    path = published(tmp_path / "s_0_best_checkpoint.pt", classes=len(classes))
    session = omlab.load_model(f"{name}.fold-0", weights=path)
    features = np.random.default_rng(0).normal(size=(12, 768)).astype(np.float32)
    found = session.predict(bag(features))
    assert isinstance(found, Classes)
    assert found.names == classes
    network = Clam(ClamConfig(embed_dim=768, n_classes=len(classes))).eval()
    network.load_state_dict(torch.load(path, weights_only=True), strict=False)  # noqa: TID251 - our own file
    with torch.no_grad():
        wanted = network(torch.from_numpy(features), torch.tensor([0, 12])).logits.softmax(1)[0]
    assert found.probabilities == pytest.approx(wanted.tolist(), abs=1e-6)
    untrained_one = omlab.load_model(f"{name}.untrained").predict(bag(features))
    assert isinstance(untrained_one, Classes)
    assert untrained_one.names == classes


@pytest.mark.parametrize(("classes", "width"), [(2, 768), (3, 1024)])
def test_a_file_of_another_task_or_encoder_is_refused(tmp_path: Path, classes: int, width: int) -> None:
    path = published(tmp_path / "s_1_best_checkpoint.pt", classes=classes, width=width)
    said = rf"tells {classes} classes by {width} features, but brow-rcc tells 3 \(CCRCC, CHRCC, PRCC\) by 768"
    with pytest.raises(WeightsError, match=said):
        omlab.load_model("brow-rcc.fold-1", weights=path)


def test_slides_become_bags_of_the_encoders_features(tmp_path: Path) -> None:
    network = untrained(VitConfig(size=64, width=64, depth=1, heads=1))
    torch.save(network.state_dict(), tmp_path / "small.pth")
    settings = {"patch": 80, "mpp": 0.5, "size": 64}
    session = omlab.load_model("brow-slide.published", weights=tmp_path / "small.pth", settings=settings)
    found = session.embed(held(draw_slide((640, 512), seed=3, blobs=1)))
    assert isinstance(found, Bag)
    features = np.asarray(found.features[:])
    assert features.shape == (len(found.coords), 64)
    assert len(features) > 3
    assert features.std(axis=0).max() > 0
    assert found.encoder["name"] == "brow-slide.local"

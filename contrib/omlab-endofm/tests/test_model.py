"""Single frames, parts of long clips, published files: what a user meets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import omlab
from omlab.errors import WeightsError
from omlab.weights import Weights
from omlab_endofm.backbone import BackboneConfig
from omlab_endofm.boxes import found
from omlab_endofm.classifier import untrained_classifier
from omlab_endofm.detect_model import others
from omlab_endofm.detection import Level
from omlab_endofm.seen import Seen
from omlab_endofm.weights import classifier_state
from omlab_payloads.sureness import FEATURES
from omlab_video.clip import Clip

SMALL = BackboneConfig(size=32, width=64, depth=2, heads=1)


def clip(frames: int, *, rows: int = 40, columns: int = 50) -> Clip:
    pixels = np.random.default_rng(0).integers(0, 256, (frames, rows, columns, 3), dtype=np.uint8)
    return Clip.of(pixels, rate=25)


def test_a_single_frame_is_a_clip_of_one() -> None:
    session = omlab.load_model("endofm-tiny.untrained", settings={"frames": 1})
    nine = clip(9)
    alone = Clip.of(nine.read([4]))
    torch.testing.assert_close(session.embed(nine).vector, session.embed(alone).vector)


def test_frames_cover_the_seconds_that_are_asked_for() -> None:
    seen = Seen(size=32, frames=8, seconds=4.0, clips=2)
    assert seen.indices(clip(200), 0).tolist() == [0, 14, 28, 42, 56, 70, 84, 99]
    assert seen.indices(clip(200), 1).tolist() == [50, 64, 78, 92, 106, 120, 134, 149]
    assert seen(clip(200)).shape == (2, 3, 8, 32, 32)


def test_any_grid_and_number_of_frames_is_taken() -> None:
    network = untrained_classifier(SMALL).backbone
    with torch.inference_mode():
        token, patches = network.tokens(torch.zeros(2, 3, 5, 48, 16))
        maps = network.maps(torch.zeros(2, 3, 5, 48, 16))
    assert (token.shape, patches.shape, maps.shape) == ((2, 1, 64), (2, 3, 5, 64), (2, 5, 64, 3, 1))


def test_published_forms_load_strictly(tmp_path: Path) -> None:
    network = untrained_classifier(SMALL, classes=2)
    backbone = network.backbone.state_dict()
    head = {"head.last_layer.weight_g": torch.ones(4, 1)}
    plain = {f"backbone.{key}": value for key, value in backbone.items()}
    torch.save({"student": plain, "teacher": plain | head}, tmp_path / "teacher.pth")
    linear = {f"module.linear.{key}": value for key, value in network.linear.state_dict().items()}
    both = {"backbone_state_dict": {f"module.{key}": value for key, value in backbone.items()}, "state_dict": linear}
    torch.save(both, tmp_path / "polypdiag.pth")
    polyp = omlab.load_model("endofm-polypdiag-tiny", weights=tmp_path / "polypdiag.pth").model
    torch.testing.assert_close(polyp.module.state_dict(), network.state_dict())
    state, config, classes = classifier_state(Weights.plain(tmp_path / "polypdiag.pth", tag="local"))
    assert (config.width, config.depth, config.frames, classes) == (64, 2, 8, 2)
    assert state.keys() == network.state_dict().keys()
    encoder = omlab.load_model("endofm", weights=tmp_path / "teacher.pth").model
    torch.testing.assert_close(encoder.module.backbone.state_dict(), backbone)
    del plain["backbone.blocks.1.attn.proj.bias"]
    torch.save({"teacher": plain}, tmp_path / "short.pth")
    with pytest.raises(WeightsError, match=r"blocks\.1\.attn\.proj\.bias"):
        omlab.load_model("endofm", weights=tmp_path / "short.pth")
    with pytest.raises(WeightsError, match="tells 2 classes, but endofm-tiny 0"):
        omlab.load_model("endofm-tiny", weights=tmp_path / "polypdiag.pth")


def test_masks_and_boxes_are_on_the_frames() -> None:
    given = clip(11)
    masks = omlab.load_model("endofm-segment-tiny.untrained", settings={"frames": 4}).predict(given)
    assert masks.same_grid(given)
    counts = {masks.names[value]: int((masks.array == value).sum()) for value in masks.present()}
    told = masks.tells()["structures"]
    assert {name: facts["pixels"] for name, facts in told.items()} == counts
    assert all(0 <= facts[key] <= 1 for facts in told.values() for key in FEATURES)
    boxes = omlab.load_model("endofm-detect-tiny.untrained").predict(given)
    assert len(boxes.frames) == 11


def test_support_frames_stand_around_the_target() -> None:
    assert others(20, frames=100).tolist() == [11, 13, 15, 17, 19, 21, 23, 25, 27, 29]
    assert others(0, frames=4).tolist() == [1, 3]


def test_boxes_are_scored_by_both_stages_and_overlaps_removed() -> None:
    sure, boxes = 10.0, torch.tensor([[[10.0, 10, 30, 30], [11, 10, 31, 30], [60, 60, 80, 80]]])
    level = Level(
        logits=torch.tensor([[[[sure, sure, -sure]], [[-sure, -sure, 0.0]]]]),
        distances=torch.zeros(1, 4, 1, 3),
        centerness=torch.full((1, 1, 1, 3), sure),
        second_logits=torch.tensor([[[[sure, 0.0, 0.0]], [[0.0, 0.0, sure]]]]),
        deltas=torch.tensor([0.0, 0, 0.2, 0])[None, :, None, None].expand(1, 4, 1, 3),
        boxes=boxes,
    )
    corners, scores, classes = found([level], size=(100, 100))
    assert classes.tolist() == [0, 1]
    torch.testing.assert_close(corners, torch.tensor([[10.0, 10, 32, 30], [60, 60, 82, 80]]))
    torch.testing.assert_close(scores, torch.tensor([1.0, 0.5**0.25]), atol=1e-3, rtol=0)


def test_boxes_that_are_turned_inside_out_or_moved_away_are_none() -> None:
    level = Level(
        logits=torch.full((1, 2, 1, 2), 5.0),
        distances=torch.zeros(1, 4, 1, 2),
        centerness=torch.full((1, 1, 1, 2), 5.0),
        second_logits=torch.full((1, 2, 1, 2), 5.0),
        deltas=torch.tensor([[3.0, 0, 0, 0], [9, 0, 9, 0]]).T[None, :, None],
        boxes=torch.tensor([[[10.0, 10, 30, 30], [60, 60, 80, 80]]]),
    )
    assert not len(found([level], size=(100, 100))[0])

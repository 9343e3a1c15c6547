"""Segmentation and detection learn from clips: which location answers for which box, and what a step sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import omlab
from omlab.errors import TrainingError
from omlab.roles import About
from omlab_endofm.detect_training import BoxedFrames, ClipDetection
from omlab_endofm.detection import Level
from omlab_endofm.detection_loss import Truth, assigned, detection_loss
from omlab_endofm.segment_training import MaskedFrames
from omlab_payloads.boxes import Box, Boxes
from omlab_video.clip import Clip
from omlab_video.over_time import BoxesClip, LabelMapClip
from omlab_video.testing import example_boxes, example_clips, example_masks

STRIDES = (8, 16)


def level(stride: int, *, size: int = 64, boxes: Tensor | None = None) -> Level:
    side = size // stride
    count = side * side
    return Level(
        logits=torch.full((1, 2, side, side), -9.0),
        distances=torch.zeros(1, 4, side, side),
        centerness=torch.zeros(1, 1, side, side),
        second_logits=torch.full((1, 2, side, side), -9.0),
        deltas=torch.zeros(1, 4, side, side),
        boxes=torch.tensor([20.0, 20, 28, 28]).expand(1, count, 4) if boxes is None else boxes,
    )


def test_the_smallest_box_that_fits_the_level_is_answered_for() -> None:
    levels = [level(stride) for stride in STRIDES]
    truth = Truth(corners=torch.tensor([[10.0, 10, 38, 38], [16, 16, 32, 32]]), classes=torch.tensor([0, 1]))
    box, sides = assigned(levels, truth, strides=STRIDES)
    fine = box[:64].view(8, 8)
    assert fine[2, 2] == 1  # (20, 20) is in both and near both middles
    assert fine[1, 1] == -1  # (12, 12) is in the large one alone, far from its middle
    assert (box[64:] == -1).all()  # no side is as far away as the coarse level is for
    torch.testing.assert_close(sides[2 * 8 + 2], torch.tensor([4.0, 4, 12, 12]))
    none = Truth(corners=torch.zeros(0, 4), classes=torch.zeros(0, dtype=torch.long))
    assert (assigned(levels, none, strides=STRIDES)[0] == -1).all()


def test_what_is_right_costs_little_and_what_is_not_more() -> None:
    corners = torch.tensor([[12.0, 12, 36, 36]])
    truth = Truth(corners=corners, classes=torch.tensor([1]))
    right, wrong = level(8, boxes=corners.expand(1, 64, 4)), level(8)
    box, _ = assigned([right], truth, strides=[8])
    for place in torch.nonzero(box >= 0)[:, 0].tolist():
        right.logits.flatten(2)[0, 1, place] = 9.0
    right.second_logits[0, 1] = 9.0
    good, bad = (detection_loss([one], truth, strides=[8]) for one in (right, wrong))
    for name in ("class_loss", "second_class_loss", "box_loss", "second_box_loss"):
        assert float(good[name]) < 0.01 < 0.1 < float(bad[name]), name
    empty = Truth(corners=torch.zeros(0, 4), classes=torch.zeros(0, dtype=torch.long))
    assert all(float(part) < 0.01 for part in detection_loss([wrong], empty, strides=[8]).values())


def test_a_frame_is_shown_with_its_boxes_where_they_are() -> None:
    clip, boxes = example_clips()[0], example_boxes()[0]
    fit = omlab.load_model("endofm-detect-tiny.untrained").model.fit
    framed = BoxedFrames(fit=fit, names=("polyp",))
    for draws in (None, np.random.default_rng(0)):
        batch = framed(clip, boxes, draws)
        assert batch["clip"].shape[:2] == (3, 3)
        left, top, right, bottom = (round(value) for value in batch["corners"][0].tolist())
        target = batch["clip"][:, 0]
        inside = target[2, (top + bottom) // 2, (left + right) // 2]  # red is last
        assert inside > target[2].mean() + 40
    with pytest.raises(TrainingError, match="frame 3 has a box of 'polyp', which is none of ulcer"):
        BoxedFrames(fit=fit, names=("ulcer",))(clip, boxes, None)
    with pytest.raises(TrainingError, match="has 6 frames, but there are boxes for 5"):
        framed(clip, BoxesClip(frames=boxes.frames[:5]), None)


def test_masks_go_with_their_frames() -> None:
    clip, masks = example_clips()[0], example_masks()[0]
    framed = MaskedFrames(size=32, frames=4, values=(1,))
    for draws in (None, np.random.default_rng(0)):
        batch = framed(clip, masks, draws)
        assert batch["frames"].shape == (4, 3, 32, 32)
        inside = batch["classes"] == 1
        bright = batch["frames"].mean(1)
        assert bright[inside].mean() > bright[~inside].mean() + 0.5
    fives = LabelMapClip(array=masks.array * 5)
    assert set(MaskedFrames(size=32, frames=4, values=(3, 5))(clip, fives, None)["classes"].unique().tolist()) == {0, 2}
    with pytest.raises(TrainingError, match=r"has the label 5, which is none of \[1\]"):
        framed(clip, fives, None)
    with pytest.raises(TrainingError, match="are not on its frames"):
        framed(example_clips()[1], masks, None)


def test_a_detector_gets_the_classes_that_are_asked_for_and_keeps_the_rest() -> None:
    model = omlab.load_model("endofm-detect-tiny.untrained").model
    about = About(inputs={"clip": "clip"}, target="boxes-clip")
    same = model.retarget("detection", about, settings={"classes": ""}, seed=1)
    other = model.retarget("detection", about, settings={"classes": "polyp, ulcer, fold"}, seed=1)
    name = "rpn.head.cls_logits.weight"
    torch.testing.assert_close(same.module.state_dict()[name], model.module.state_dict()[name])
    assert (other.names, other.module.state_dict()[name].shape[0]) == (("polyp", "ulcer", "fold"), 3)
    tower = "rpn.head.cls_tower.0.weight"
    torch.testing.assert_close(other.module.state_dict()[tower], model.module.state_dict()[tower])


def squares(seed: int) -> tuple[Clip, BoxesClip]:
    """A bright square that stands somewhere on a dark ground."""
    draws = np.random.default_rng(seed)
    frames = draws.integers(40, 70, (3, 64, 64, 3)).astype(np.uint8)
    top, left = (int(value) for value in draws.integers(4, 36, 2))
    frames[:, top : top + 24, left : left + 24] = (230, 120, 110)
    near, far = (left - 0.5, top - 0.5), (left + 23.5, top + 23.5)
    box = Boxes(space="pixel", boxes=[Box(near=near, far=far, label="polyp")])
    return Clip.of(frames), BoxesClip(frames=[box] * 3)


@pytest.mark.slow
def test_a_detector_learns_to_find_a_bright_square() -> None:
    model = omlab.load_model("endofm-detect-tiny.untrained").model
    about = About(inputs={"clip": "clip"}, target="boxes-clip")
    model = model.retarget("detection", about, settings={"classes": "polyp"}, seed=0)
    framed, module = BoxedFrames(fit=model.fit, names=("polyp",)), model.module.train()
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3)
    loss: Any = ClipDetection.loss
    recipe = type("Given", (), {"module": module})()
    losses = []
    for step in range(300):
        total, _ = loss(recipe, framed(*squares(step), np.random.default_rng(step)))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses.append(float(total.detach()))
    assert np.mean(losses[-30:]) < 0.5 * np.mean(losses[:30])
    hits = 0
    for seed in range(1000, 1020):
        clip, truth = squares(seed)
        (best, *_) = sorted(next(iter(model.predict([{"clip": clip}]))).frames[1].boxes, key=lambda box: -box.score)
        there = truth.frames[1].boxes[0]
        hits += all(abs(a - b) < 6 for a, b in zip((*best.near, *best.far), (*there.near, *there.far), strict=True))
    assert hits >= 15

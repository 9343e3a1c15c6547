"""Pre-training without targets: views are what Endo-FM's were, and what was begun is gone on with."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import omlab
from omlab.errors import OmlabError
from omlab_endofm.backbone import BackboneConfig
from omlab_endofm.distillation import ClipDistillation
from omlab_endofm.views import ClipViews, drawn_part
from omlab_train.distillation import HeadConfig
from omlab_train.teacher import Step
from omlab_video.clip import Clip
from omlab_video.io.video_file import write_video

CONFIG = BackboneConfig(size=32, width=16, depth=1, heads=2, drop_path=0.0)
HEAD = HeadConfig(outputs=12, hidden=8, bottleneck=4)
VIEWS = ClipViews(size=32, local_size=16, seconds=2.0)
FAST = {
    "epochs": 2, "batch_size": 2, "warmup_epochs": 0.0, "outputs": 12, "hidden": 8, "bottleneck": 4,
}  # fmt: skip


def clip(frames: int = 40) -> Clip:
    """Frames of one shade each, which rises."""
    shades = np.linspace(0, 250, frames).astype(np.uint8)
    return Clip.of(np.broadcast_to(shades[:, None, None, None], (frames, 48, 64, 3)).copy(), rate=20.0)


def draw() -> torch.Generator:
    return torch.Generator()


def table(folder: Path, *, classes: bool = False) -> str:
    rows = []
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
        write_video(folder / f"{number}.mp4", iter(pixels), times=[0.1 * time for time in range(10)])
        rows.append([f"clip{number}", f"{number}.mp4", *(["ab"[number % 2], "train"] if classes else [])])
    path = folder / f"{'labelled' if classes else 'unlabelled'}.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "clip", *(["target", "split"] if classes else [])], *rows])
    return f"cases:{path}"


def test_ten_views_differ_in_place_and_in_time_and_are_a_function_of_clip_and_seed() -> None:
    first, again, other = (VIEWS(clip(), seed) for seed in (1, 1, 2))
    shapes = [(8, 32), (16, 32), *((count, 16) for count in (2, 2, 4, 4, 8, 8, 16, 16))]
    assert [tuple(view.shape) for view in first.values()] == [(3, count, side, side) for count, side in shapes]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    rising = [view[0, :, 0, 0] for view in first.values()]
    assert all((view[-1] >= view[0]) for view in rising)
    assert len({round(float(view[0]), 3) for view in rising}) > 5


def test_of_a_long_clip_views_are_of_some_seconds() -> None:
    long = ClipViews(size=32, local_size=16, seconds=1.0)
    spans = []
    for seed in range(6):
        view = long(clip(400), seed)["global-1"]
        spans.append(float((view[:, -1] - view[:, 0]).abs().max()))
    assert max(spans) < 1.0  # of about 4.4 from black to white: a second is a twentieth of the clip


def test_parts_have_the_share_that_is_asked_for_and_lie_in_the_frame() -> None:
    draws = np.random.default_rng(0)
    for _ in range(50):
        top, left, rows, columns = drawn_part(60, 80, parts=(0.05, 0.4), draws=draws)
        assert 0 <= top <= 60 - rows
        assert 0 <= left <= 80 - columns
        assert 0.04 < rows * columns / 4800 < 0.42
    assert drawn_part(4, 400, parts=(1.0, 1.0), draws=draws) == (0, 198, 4, 4)  # none of ten fits


def test_the_student_sees_ten_views_and_the_teacher_two() -> None:
    views = {name: torch.stack([view, view.flip(-1)]) for name, view in VIEWS(clip(), 3).items()}
    module = ClipDistillation(CONFIG, head=HEAD).train()
    seen: dict[str, list[tuple[int, ...]]] = {"student": [], "teacher": []}
    for name, shapes in seen.items():
        backbone = getattr(module, name).backbone
        backbone.register_forward_hook(lambda _, given, __, shapes=shapes: shapes.append(tuple(given[0].shape)))
    loss, _ = module(views, draw(), Step(teacher_temperature=0.04))
    assert [shape[0] for shape in seen["student"]] == [2, 2, 4, 4, 4, 4]  # equal shapes in one pass
    assert [shape[2] for shape in seen["teacher"]] == [8, 16]
    loss.backward()
    assert not list(module.teacher.parameters())
    assert module.student.backbone.time_embed.grad.norm() > 0


@pytest.mark.slow
def test_what_was_pretrained_is_gone_on_with(tmp_path: Path) -> None:
    unlabelled, labelled = table(tmp_path), table(tmp_path, classes=True)
    settings: dict[str, Any] = {**FAST, "local_size": 16}
    omlab.adapt("endofm-tiny", unlabelled, recipe="dino", settings=settings, output=tmp_path / "mine")
    history = json.loads((tmp_path / "mine" / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2]
    given = clip(10)
    before = omlab.load_model("endofm-tiny.untrained").embed(given)
    pretrained = omlab.load_model(tmp_path / "mine")
    assert not np.allclose(pretrained.embed(given).vector, before.vector)
    few = {"epochs": 1, "batch_size": 2, "learning_rate": 1e-6}
    omlab.adapt(tmp_path / "mine", labelled, recipe="classification", settings=few, output=tmp_path / "told")
    told = omlab.load_model(tmp_path / "told")
    assert told.predict(given).names == ("a", "b")
    kept = pretrained.model.module.encoder.cls_token
    torch.testing.assert_close(told.model.module.backbone.cls_token, kept, atol=1e-4, rtol=0)
    with pytest.raises(OmlabError, match="fine-tuned to tell classes"):
        omlab.adapt(tmp_path / "told", unlabelled, recipe="dino", settings=settings, output=tmp_path / "no")
    with pytest.raises(OmlabError, match="local_size is 20, but must be a multiple of the patch, 16 pixels"):
        omlab.adapt("endofm-tiny", unlabelled, recipe="dino", settings={"local_size": 20}, output=tmp_path / "no")

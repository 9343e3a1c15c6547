"""Average precision is that of the reference implementation, pycocotools, and of faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import faster_coco_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from omlab.roles import Sample
from omlab_evaluators.detection.evaluator import DetectionEvaluator
from omlab_payloads.boxes import Box, Boxes

NAMES = ("adenomatous", "hyperplastic")
KEYS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


def drawn(seed: int, *, images: int, references: int, found: int, crowd: float, coarse: bool) -> list[list[Any]]:
    """For each image reference and found boxes: (class, left, top, width, height, crowd or score)."""
    draw = np.random.default_rng(seed)

    def box() -> list[float]:
        corner, size = draw.uniform(0, 150, 2), np.exp(draw.uniform(np.log(8), np.log(200), 2))
        numbers = [*corner, *size]
        # whole tens: equal overlaps, equal boxes, sizes on the border between small and medium
        return [float(8 * round(number / 8) or 8) for number in numbers] if coarse else [float(n) for n in numbers]

    drawn = []
    for _ in range(images):
        ours = [
            [int(draw.integers(2)), *box(), bool(draw.random() < crowd)] for _ in range(draw.integers(references + 1))
        ]
        theirs = []
        for _ in range(draw.integers(found + 1)):
            # near a reference as often as not
            place = ours[draw.integers(len(ours))][1:5] if ours and draw.random() < 0.6 else box()
            place = [float(part * draw.uniform(0.9, 1.1)) for part in place] if not coarse else place
            score = draw.integers(1, 5) / 4 if coarse else draw.random()
            theirs.append([int(draw.integers(2)), *place, float(score)])
        drawn.append([ours, theirs])
    return drawn


def by_library(drawn: list[list[Any]], kind: Any, judge: Any) -> list[float]:
    """The first six figures of the summary: COCO's -1 is "not defined"."""
    boxes: list[list[dict[str, Any]]] = [[], []]
    for number, sides in enumerate(drawn, start=1):
        for side, rows in enumerate(sides):
            for name, left, top, width, height, last in rows:
                more = {"score": last} if side else {"iscrowd": int(last)}
                one = {"image_id": number, "category_id": name + 1, "bbox": [left, top, width, height]}
                boxes[side].append({"id": len(boxes[side]) + 1, "area": width * height, **one, **more})
    images = [{"id": n + 1, "width": 400, "height": 400} for n in range(len(drawn))]
    categories = [{"id": n + 1, "name": name} for n, name in enumerate(NAMES)]
    with contextlib.redirect_stdout(io.StringIO()):
        ours, theirs = kind(), kind()
        ours.dataset = {"images": images, "annotations": boxes[0], "categories": categories}
        theirs.dataset = {"images": images, "annotations": boxes[1], "categories": categories}
        ours.createIndex()
        theirs.createIndex()
        found = judge(ours, theirs, "bbox")
        found.evaluate()
        found.accumulate()
        found.summarize()
    return [float(value) for value in found.stats[:6]]


def by_us(drawn: list[list[Any]], tmp_path: Any) -> list[float]:
    def boxes(rows: list[Any], is_found: bool) -> Boxes:
        return Boxes(
            space="pixel",
            boxes=[
                Box(
                    near=(left, top), far=(left + width, top + height), label=NAMES[name],
                    **({"score": last} if is_found else {"crowd": last}),
                )
                for name, left, top, width, height, last in rows
            ],
        )  # fmt: skip

    evaluator = DetectionEvaluator(rounds=1)
    rows = {
        f"{number:04d}": evaluator.measure(
            Sample(id=f"{number:04d}", inputs={}, target=boxes(ours, False)), boxes(theirs, True), tmp_path
        )
        for number, (ours, theirs) in enumerate(drawn)
    }
    metrics = {metric.name: metric.value for metric in evaluator.figures(rows) if metric.label is None}
    return [-1.0 if metrics[key] is None else metrics[key] for key in KEYS]


@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 8),
    references=st.integers(0, 5),
    found=st.integers(0, 8),
    crowd=st.sampled_from([0.0, 0.3]),
    coarse=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_random_boxes_have_the_reference_implementations_precision(tmp_path_factory: Any, **sizes: Any) -> None:
    boxes = drawn(**sizes)
    wanted = by_library(boxes, COCO, COCOeval)
    np.testing.assert_allclose(by_us(boxes, tmp_path_factory.getbasetemp()), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("coarse", [False, True])
def test_many_boxes_have_the_precision_of_both_libraries(tmp_path: Any, coarse: bool) -> None:
    boxes = drawn(7, images=60, references=4, found=130, crowd=0.1, coarse=coarse)
    ours = by_us(boxes, tmp_path)
    np.testing.assert_allclose(ours, by_library(boxes, COCO, COCOeval), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        ours, by_library(boxes, faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster), rtol=0, atol=1e-12
    )
    assert min(ours) > 0

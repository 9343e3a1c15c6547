"""Measured on boxes, a class has the figures that it has on the whole volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.roles import Sample
from omlab_evaluators.segmentation.boxes import boxes, joined
from omlab_evaluators.segmentation.evaluator import SegmentationEvaluator
from omlab_evaluators.segmentation.overlap import dice, volume_ml
from omlab_evaluators.segmentation.summary import Settings
from omlab_evaluators.segmentation.surface import bounding_box, surface_dice, surface_distances

SPACING = np.diag([0.7, 1.3, 3.0])


def _array(seed: int, kind: type, order: Any) -> np.ndarray:
    draw = np.random.default_rng(seed)
    array = np.zeros((9, 8, 7), kind)
    for value in (1, 2, 5, 255):
        low = draw.integers(0, 6, 3)
        high = low + draw.integers(0, 4, 3)
        array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = value
    return np.asarray(array, order=order)


@given(seed=st.integers(0, 999), kind=st.sampled_from([np.uint8, np.uint16, np.uint32]), order=st.sampled_from("CF"))
@settings(max_examples=40, deadline=None)
def test_a_box_is_the_smallest_around_its_class(seed: int, kind: type, order: str) -> None:
    array = _array(seed, kind, order)
    found = boxes(array, [1, 2, 3, 5, 255])
    assert found == {value: bounding_box(array == value) for value in (1, 2, 5, 255) if (array == value).any()}
    assert boxes(array, []) == {}
    assert boxes(array, [1 << 20]) == {1 << 20: (slice(None),) * 3}  # too high for a table: the whole volume


def test_boxes_are_joined() -> None:
    one, other = (slice(1, 3), slice(2, 4), slice(0, 1)), (slice(2, 5), slice(0, 1), slice(0, 1))
    assert joined(one, other) == (slice(1, 5), slice(0, 4), slice(0, 1))
    assert joined(None, other) == other
    assert joined(None, None) == (slice(0),) * 3
    assert joined(one, (slice(None),) * 3) == (slice(None),) * 3


class _Map:
    """A label map as far as the evaluator looks at one."""

    kind = "labelmap"
    labels: tuple[Any, ...] = ()
    affine = np.diag([0.7, 1.3, 3.0, 1.0])

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def same_grid(self, other: Any) -> bool:
        return True


@given(seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)), order=st.sampled_from("CF"))
@settings(max_examples=25, deadline=None)
def test_rows_are_those_of_the_whole_volume(seeds: tuple[int, int], order: str) -> None:
    reference, prediction = (_array(seed, np.uint8, order) for seed in seeds)
    prediction[prediction == 5] = 0  # a class that is not found
    target: Any = _Map(reference)
    sample = Sample(id="case", inputs={}, target=target, group=None, meta={})
    rows = SegmentationEvaluator(Settings(surface_tolerance_mm=1.0)).measure(sample, _Map(prediction), Path("unused"))
    assert [row["value"] for row in rows] == sorted(set(np.unique(reference).tolist()) - {0})
    for row in rows:
        ours, theirs = reference == row["value"], prediction == row["value"]
        distances = surface_distances(ours, theirs, axes=SPACING)
        assert row["dice"] == dice(ours, theirs)
        assert row["reference_ml"] == volume_ml(int(ours.sum()), axes=SPACING)
        assert row["prediction_ml"] == volume_ml(int(theirs.sum()), axes=SPACING)
        assert row["surface_dice"] == surface_dice(distances, tolerance=1.0, both_empty=False)
        assert row["hd95"] == (None if distances is None else pytest.approx(distances.percentile(95), abs=0))

"""Prompts made from masks; the golden file has the numbers, these are the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omlab_sammed2d.clicks import deepest_point, error_points, first_points, most_shift, region_boxes
from omlab_sammed2d.training import drawn_errors


def disc(shape: tuple[int, int] = (20, 24), at: tuple[int, int] = (9, 12), radius: float = 5) -> np.ndarray:
    rows, columns = np.indices(shape)
    return np.asarray((rows - at[0]) ** 2 + (columns - at[1]) ** 2 <= radius**2)


def test_regions_touch_at_corners_and_the_largest_comes_first() -> None:
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = mask[1, 1] = mask[5:7, 3:8] = True
    assert region_boxes(mask) == [(3, 5, 8, 7)]
    assert region_boxes(mask, count=2) == [(3, 5, 8, 7), (0, 0, 2, 2)]
    assert region_boxes(np.zeros((4, 4), bool)) == []
    assert most_shift((0, 0, 1, 9)) == 0


def test_an_exact_mask_gives_no_points() -> None:
    mask = disc()
    points, labels = error_points(mask, mask, count=3, draw=lambda count: count - 1)
    assert labels.tolist() == [-1, -1, -1]
    assert points.tolist() == [[23, 19]] * 3
    places, kinds = drawn_errors(torch.from_numpy(mask), torch.from_numpy(mask), torch.tensor([0.999] * 3))
    assert kinds.tolist() == [-1, -1, -1]
    assert places.tolist() == points.tolist()


def test_first_points_without_an_object_or_without_background() -> None:
    nothing = np.zeros((3, 3), bool)
    assert first_points(nothing, count=1, draw=lambda _: 4, shuffle=range)[1].tolist() == [0]
    assert first_points(nothing, count=4, draw=lambda _: 0, shuffle=range)[1].tolist() == [0, 0, 0, 0]
    assert first_points(~nothing, count=3, draw=lambda _: 0, shuffle=range)[1].tolist() == [1, 1, 1]


@pytest.mark.parametrize("label", [0, 1])
def test_the_deepest_point_lies_in_the_larger_error(label: int) -> None:
    object, empty = disc(), np.zeros((20, 24), bool)
    mask, reference = (empty, object) if label else (object, empty)
    points, labels = deepest_point(mask, reference, draw=lambda count: count // 2)
    assert labels.tolist() == [label]
    x, y = points[0]
    assert np.hypot(x - 12, y - 9) < 3.5

"""How images get into the network's square and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omlab_sammed2d.frames import MEAN, STD, Frame, normalised


def test_published_weights_pair_blue_with_the_mean_of_red() -> None:
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 255
    bgr, rgb = (normalised(red, order=order)[0, 0] for order in ("bgr", "rgb"))
    np.testing.assert_allclose(bgr, (np.array([0, 0, 255]) - MEAN) / STD, rtol=1e-6)
    np.testing.assert_allclose(rgb, (np.array([255, 0, 0]) - MEAN) / STD, rtol=1e-6)


@pytest.mark.parametrize(("shape", "fit"), [((30, 50), "resize"), ((30, 50), "pad"), ((90, 20), "pad")])
def test_a_pixel_and_a_point_on_it_come_to_the_same_place(shape: tuple[int, int], fit: str) -> None:
    frame = Frame(shape=shape, side=64, fit=fit)  # type: ignore[arg-type]
    array = np.zeros(shape)
    array[19:22, 14:17] = 1
    rows, columns = np.nonzero(frame.square(array))
    x, y = frame.places(np.array([[15.0, 20.0]]))[0].tolist()
    assert columns.min() - 1 <= x <= columns.max() + 1
    assert rows.min() - 1 <= y <= rows.max() + 1
    if frame.is_padded:
        assert (x, y) == (columns[0] + 1, rows[0] + 1)


@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_a_mask_comes_back_where_it_was(fit: str) -> None:
    frame = Frame(shape=(40, 56), side=64, fit=fit)  # type: ignore[arg-type]
    array = np.full((40, 56), -1.0, np.float32)
    array[8:30, 20:50] = 1
    square = torch.from_numpy(frame.square(array))
    low = torch.nn.functional.avg_pool2d(square[None, None], 4)[:, 0]
    found = frame.back(low)[0].numpy() > 0
    truth = array > 0
    assert found.shape == (40, 56)
    assert (found & truth).sum() / (found | truth).sum() > 0.85


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 5\) pixels, not \(5, 4\)"):
        Frame(shape=(4, 5), side=8).square(np.zeros((5, 4)))

"""Whole slides: each patch as the encoder of images sees it, and what is said where a slide lacks a scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import omlab
from omlab.errors import InputError
from omlab_image import Image
from omlab_slide.testing import draw_slide, held


def test_a_patch_of_a_slide_is_seen_whole() -> None:
    pixels = draw_slide((600, 500), seed=1)
    session: Any = omlab.load_model("pathoduet-tiny-slide", settings={"mpp": 0.5, "patch": 64})
    bag = session.embed(held(pixels, mpp=0.5))
    assert len(bag.coords) > 3
    x, y = bag.coords[2]
    encoder: Any = omlab.load_model("pathoduet-tiny", settings={"view": "whole"})
    vector = encoder.embed(Image(array=np.ascontiguousarray(pixels[y : y + 64, x : x + 64]))).vector
    np.testing.assert_allclose(np.asarray(bag.features[2:3])[0], vector, atol=1e-4)


def test_a_slide_without_a_scale_is_refused() -> None:
    session: Any = omlab.load_model("pathoduet-tiny-slide")
    with pytest.raises(InputError, match="does not say how many micrometres"):
        session.embed(held(draw_slide((600, 500)), mpp=None))

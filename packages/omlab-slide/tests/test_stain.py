"""Stain normalisation: colours become the reference's, glass stays glass, too little tissue stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from omlab.errors import InputError
from omlab_slide.stain import Macenko, Reinhard, _density, _stains

HAEMATOXYLIN, EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])


def stained(haematoxylin, eosin, *, seed=0, side=96, strength=1.0):
    """A tile of two known stains in drawn amounts, with a corner of glass."""
    draws = np.random.default_rng(seed)
    stains = np.stack([haematoxylin / np.linalg.norm(haematoxylin), eosin / np.linalg.norm(eosin)])
    amounts = strength * draws.gamma(2.0, 0.5, (side, side, 2)) * (draws.random((side, side, 1)) < [0.6, 0.9])
    amounts[:16, :16] = 0
    return np.clip(np.rint(240 * np.exp(-amounts @ stains)), 0, 255).astype(np.uint8)


def test_stains_are_found_as_they_were_mixed():
    stains, most = _stains(_density(stained(HAEMATOXYLIN, EOSIN)))
    expected = np.stack([HAEMATOXYLIN, EOSIN], axis=1)
    cosines = (stains * expected / np.linalg.norm(expected, axis=0)).sum(axis=0)
    assert cosines.min() > 0.99
    assert (most > 0).all()


def test_macenko_gives_a_slide_the_colours_of_the_reference():
    reference = stained(HAEMATOXYLIN, EOSIN)
    other = stained([0.5, 0.8, 0.4], [0.2, 0.9, 0.3], seed=1, strength=0.6)
    normalise = Macenko.of(reference)
    found = normalise(other)
    assert found.dtype == np.uint8
    assert found.shape == other.shape
    means = [tile[20:].reshape(-1, 3).mean(axis=0) for tile in (reference, other, found)]
    assert np.abs(means[2] - means[0]).max() < 0.3 * np.abs(means[1] - means[0]).max()
    assert found[:16, :16].min() > 225  # glass
    by_slide = normalise.for_slide(np.stack([other, other[::-1]]))
    assert np.abs(by_slide(other).astype(int) - found).mean() < 3
    assert np.abs(Macenko.of(reference)(reference).astype(int) - reference).mean() < 4
    assert Macenko.standard()(other).mean() > other.mean() - 60


def test_reinhard_gives_a_slide_the_mean_and_spread_of_the_reference():
    reference, other = stained(HAEMATOXYLIN, EOSIN), stained([0.5, 0.8, 0.4], [0.2, 0.9, 0.3], seed=1, strength=0.6)
    normalise = Reinhard.of(reference)
    found = Reinhard.of(normalise(other))
    assert np.abs(np.subtract(found.mean, normalise.mean)).max() < 4
    assert np.abs(np.subtract(found.spread, normalise.spread)).max() < 4
    np.testing.assert_array_equal(normalise(other)[:16, :16], other[:16, :16])


@pytest.mark.parametrize("tile", [np.full((64, 64, 3), 243, np.uint8), np.zeros((64, 64, 3), np.uint8)])
def test_a_tile_whose_stains_cannot_be_known_stays_as_it_is(tile):
    np.testing.assert_array_equal(Macenko.standard()(tile), tile)
    if tile.max():
        np.testing.assert_array_equal(Reinhard.of(stained(HAEMATOXYLIN, EOSIN))(tile), tile)


def test_a_reference_without_tissue_is_refused():
    glass = np.full((64, 64, 3), 243, np.uint8)
    for method in (Macenko, Reinhard):
        with pytest.raises(InputError, match="too little tissue"):
            method.of(glass)

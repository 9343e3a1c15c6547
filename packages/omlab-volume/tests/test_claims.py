"""Objects that claim voxels: who has them, and how sure that is."""

import math

import numpy as np
import pytest

from omlab_volume.inference.claims import Claims


def logit(p):
    return np.float32(math.log(p / (1 - p)))


def two_squares(*, logits):
    """Two objects of 4 x 4 pixels, the second of which claims half of the first, less sure."""
    of = logit if logits else np.float32
    claims = Claims((2, 8, 10), objects=2, logits=logits)
    first, second = (np.full((8, 10), of(0.1), np.float32) for _ in range(2))
    first[2:6, 1:5], second[2:6, 3:9] = of(0.9), of(0.8)
    claims.claim(second, label=2, at=1)
    claims.claim(first, label=1, at=1)
    return claims


@pytest.mark.parametrize("logits", [True, False])
def test_the_surest_object_has_a_voxel_and_says_how_sure_it_is(logits):
    claims = two_squares(logits=logits)
    assert (claims.labels[1, 2:6, 1:5] == 1).all()
    assert (claims.labels[1, 2:6, 5:9] == 2).all()
    assert np.count_nonzero(claims.labels) == 32
    told = claims.facts(["one", "two"], voxel_ml=0.5)["structures"]
    assert [told[name]["ml"] for name in ("one", "two")] == [8, 8]
    assert told["one"]["margin"] == pytest.approx(0.8, abs=1e-4)
    assert told["two"]["surface_margin"] == pytest.approx(0.6, abs=1e-4)
    wanted = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
    assert told["one"]["entropy"] == pytest.approx(wanted, abs=1e-4)


def test_what_is_not_above_one_half_is_nobodys_and_nothing_is_said_of_what_was_not_found():
    claims = Claims((4, 4), objects=2, logits=False)
    claims.claim(np.full((4, 4), 0.5, np.float32), label=1)
    claims.claim(np.pad(np.full((2, 2), 0.75, np.float32), 1), label=2)
    assert set(np.unique(claims.labels)) == {0, 2}
    told = claims.facts(["one", "two"], voxel_ml=None, more={"two": {"predicted_iou": 0.5}})
    assert told["structures"].keys() == {"two"}
    assert told["structures"]["two"]["pixels"] == 4
    assert told["structures"]["two"]["predicted_iou"] == 0.5

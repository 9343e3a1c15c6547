import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf

from omlab.errors import InputError, UsageError
from omlab_retrieval import Scored, outliers
from omlab_retrieval.gaussian import Gaussian


def vectors(count, width=5, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + 3).astype(np.float32)


def cosine_distance(a, b):
    a, b = a.astype(float), b.astype(float)
    return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize(("count", "width"), [(40, 5), (6, 20), (30, 1), (3, 2)])
def test_mahalanobis_distances_are_those_of_scikit_learn(count, width):
    known, new = vectors(count, width), vectors(7, width, seed=1)
    wanted = np.sqrt(LedoitWolf().fit(known.astype(float)).mahalanobis(new.astype(float)))
    np.testing.assert_allclose(Gaussian(known).distances(new), wanted, rtol=1e-6)


@settings(max_examples=25)
@given(st.integers(4, 12), st.integers(1, 8), st.integers(0, 10_000))
def test_leaving_out_is_the_same_as_a_gaussian_without_the_case(count, width, seed):
    known = vectors(count, width, seed=seed)
    gaussian = Gaussian(known)
    found = gaussian.left_out(known)
    for row in range(count):
        others = np.delete(known, row, axis=0).astype(float)
        covariance = np.cov(others.T, bias=True).reshape(width, width)
        share = gaussian.shrinkage
        shrunk = (1 - share) * covariance + share * np.trace(covariance) / width * np.eye(width)
        away = known[row] - others.mean(axis=0)
        np.testing.assert_allclose(found[row], np.sqrt(away @ np.linalg.solve(shrunk, away)), rtol=1e-5)


def test_leaving_out_is_close_to_fitting_anew():
    known = vectors(80, 6)
    wanted = [
        np.sqrt(LedoitWolf().fit(np.delete(known, row, axis=0).astype(float)).mahalanobis(known[[row]].astype(float)))
        for row in range(80)
    ]
    np.testing.assert_allclose(Gaussian(known).left_out(known), np.ravel(wanted), rtol=0.02)


@pytest.mark.parametrize("known", [vectors(2), np.full((9, 4), 0.3, np.float32), np.zeros((9, 4), np.float32)])
def test_too_few_or_all_the_same_have_no_gaussian(known):
    gaussian = Gaussian(known)
    assert np.isnan(gaussian.distances(known)).all()
    assert np.isnan(gaussian.left_out(known)).all()
    found = outliers(known, known[:1], k=3)
    assert np.isnan(found.mahalanobis.values).all()
    assert (found.mahalanobis.threshold(95), found.mahalanobis.above().tolist()) == (None, [0])
    assert np.isnan(found.mahalanobis.below()).all()
    assert np.isfinite(found.neighbour.values).all()


def test_distances_are_those_to_the_kth_neighbour():
    known, new = vectors(30), vectors(4, seed=1)
    found = outliers(known, new, k=3)
    wanted = [sorted(cosine_distance(one, other) for other in known)[2] for one in new]
    np.testing.assert_allclose(found.neighbour.values, wanted, atol=1e-7)
    inside = [sorted(cosine_distance(known[n], known[m]) for m in range(30) if m != n)[2] for n in range(30)]
    np.testing.assert_allclose(found.neighbour.known, sorted(inside), atol=1e-7)
    among = outliers(known, k=3)
    np.testing.assert_allclose(among.neighbour.values, inside, atol=1e-7)
    np.testing.assert_allclose(among.mahalanobis.values, Gaussian(known).left_out(known))
    assert among.order().tolist() == np.argsort(-np.round(inside, 9), kind="stable").tolist()
    assert all(row not in near for row, near in enumerate(among.nearest.tolist()))


def test_thresholds_are_ranks_as_in_conformal_prediction():
    scored = Scored(values=np.array([95.0, 95.5, 99.5, np.nan]), known=np.arange(1.0, 100))
    assert (scored.threshold(95), scored.threshold(99)) == (95, 99)
    assert scored.above().tolist() == [0, 95, 99, 0]
    np.testing.assert_allclose(scored.below(), [94 / 99, 95 / 99, 1, np.nan])
    few = Scored(values=np.array([9.0]), known=np.arange(1.0, 20))
    assert (few.threshold(95), few.threshold(99)) == (19, None)
    assert Scored(values=np.array([9.0]), known=np.arange(1.0, 19)).threshold(95) is None


def test_so_many_cases_like_the_known_ones_are_above_as_the_threshold_says():
    known, new = np.split(vectors(2400, 8), [400])
    found = outliers(known, new)
    for scored in (found.neighbour, found.mahalanobis):
        assert 0.02 < (scored.above() >= 95).mean() < 0.08
        assert (scored.above() == 99).mean() < 0.03
    foreign = vectors(20, 8, seed=5) * np.array([-1, 1] * 4, np.float32)
    assert (outliers(known, foreign).mahalanobis.above() == 99).mean() > 0.9


def test_of_many_known_cases_some_are_drawn_always_the_same():
    known = vectors(300)
    first, again = (outliers(known, known[:5], most=100) for _ in range(2))
    assert len(first.neighbour.known) == len(first.mahalanobis.known) == 100
    assert (first.mahalanobis.known == again.mahalanobis.known).all()
    among = outliers(known, most=100)
    assert len(among.neighbour.known) == len(among.mahalanobis.known) == 300
    np.testing.assert_allclose(among.mahalanobis.values, outliers(known).mahalanobis.values, rtol=0.5)


def test_what_cannot_be_scored_is_told():
    with pytest.raises(UsageError, match="at least 2 known cases; there is 1"):
        outliers(vectors(1), vectors(3))
    with pytest.raises(UsageError, match="there is none"):
        outliers(np.zeros((0, 3)))
    broken = vectors(5)
    broken[3, 0] = np.nan
    with pytest.raises(InputError, match="Row 3 of the known"):
        outliers(broken)
    assert outliers(vectors(2), k=10).k == 1
    assert outliers(vectors(4), vectors(3), k=10).nearest.shape == (3, 3)

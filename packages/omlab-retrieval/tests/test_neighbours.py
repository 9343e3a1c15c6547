import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import InputError, UsageError
from omlab_retrieval import neighbours, search


def brute_force(known, asked, k, own=None):
    """All cosines, sorted: the nearest first, of those alike the first row."""
    found = []
    for number, query in enumerate(np.asarray(asked, float)):
        cosines = []
        for row, vector in enumerate(np.asarray(known, float)):
            lengths = np.linalg.norm(query) * np.linalg.norm(vector)
            cosines.append((-round(float(query @ vector / lengths), 9) if lengths else 0.0, row))
        found.append(sorted(pair for pair in cosines if own is None or pair[1] != own[number])[:k])
    return found


@st.composite
def matrices(draw):
    """Small whole numbers, so that ties, copies, opposite vectors and zeros come up."""
    width, many, few = draw(st.integers(1, 4)), draw(st.integers(1, 30)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return (rng.integers(-2, 3, (n, width)).astype(draw(st.sampled_from(["f4", "f8"]))) for n in (many, few))


@settings(max_examples=60)
@given(both=matrices(), k=st.integers(1, 40), block=st.sampled_from([8, 64, 200, 1 << 20]))
def test_the_same_as_brute_force_whatever_the_blocks(both, k, block):
    known, asked = both
    before, neighbours.BLOCK_BYTES = neighbours.BLOCK_BYTES, block
    try:
        found = search(known, asked, k=k)
    finally:
        neighbours.BLOCK_BYTES = before
    assert found.rows.shape == found.similarities.shape == (len(asked), min(k, len(known)))
    for rows, similarities, wanted in zip(found.rows, found.similarities, brute_force(known, asked, k), strict=True):
        assert rows.tolist() == [row for _, row in wanted]
        np.testing.assert_allclose(similarities, [-one for one, _ in wanted], atol=1e-8)


@settings(max_examples=30)
@given(both=matrices(), k=st.integers(1, 40), block=st.sampled_from([8, 200, 1 << 20]))
def test_each_beside_all_others(both, k, block):
    known, _ = both
    own = np.arange(len(known))[::2]
    before, neighbours.BLOCK_BYTES = neighbours.BLOCK_BYTES, block
    try:
        found = search(known, known[own], k=k, own=own)
    finally:
        neighbours.BLOCK_BYTES = before
    wanted = brute_force(known, known[own], k, own=own)
    assert found.rows.tolist() == [[row for _, row in one] for one in wanted]


def test_copies_of_a_vector_are_equal_and_stand_in_their_order():
    rng = np.random.default_rng(0)
    vector = rng.normal(size=333).astype(np.float32)
    known = rng.normal(size=(20_000, 333)).astype(np.float32)
    places = [3, 8191, 8192, 15_000, 19_999]  # in several blocks
    known[places] = vector * np.array([1, 2, 3, 0.1, 7], np.float32)[:, None]
    found = search(known, vector[None], k=6)
    assert found.rows[0, :5].tolist() == places
    assert (found.similarities[0, :5] == 1).all()
    assert found.similarities[0, 5] < 0.5


def test_memory_is_bounded_where_the_matrix_is_on_the_disk(tmp_path):
    shape = (100_000, 256)
    known = np.lib.format.open_memmap(tmp_path / "known.npy", mode="w+", dtype=np.float32, shape=shape)
    rng = np.random.default_rng(0)
    for start in range(0, shape[0], 10_000):
        known[start : start + 10_000] = rng.standard_normal((10_000, 256), np.float32)
    known.flush()
    tracemalloc.start()
    found = search(known, known[[5, 77_777]], k=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.rows[:, 0].tolist() == [5, 77_777]
    assert peak < known.nbytes / 1.5 < 70e6  # all of it as float64 would be 205 MB


def test_nothing_is_found_among_nothing():
    assert search(np.zeros((0, 4)), np.zeros((2, 4)), k=3).rows.shape == (2, 0)
    assert search(np.zeros((3, 4)), np.zeros((0, 4)), k=3).rows.shape == (0, 3)
    assert search(np.ones((1, 4)), np.ones((1, 4)), k=3, own=np.array([0])).rows.shape == (1, 0)


def test_a_vector_of_zeros_is_like_nothing():
    found = search(np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]), np.array([[0.0, 0.0], [2.0, 0.0]]))
    assert found.similarities.tolist() == [[0, 0, 0], [1, 0, -1]]
    assert found.rows.tolist() == [[0, 1, 2], [1, 0, 2]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(bad):
    known = np.ones((9000, 3), np.float32)
    known[8500, 1] = bad
    with pytest.raises(InputError, match="Row 8500 of the known vectors has entries that are NaN or infinite"):
        search(known, np.ones((1, 3)))
    with pytest.raises(InputError, match="Row 0 of the asked"):
        search(np.ones((4, 3)), np.full((1, 3), bad))


@pytest.mark.parametrize(
    ("known", "asked", "k", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), 1, "have 3 features, those asked for 4"),
        (np.ones(3), np.ones((2, 3)), 1, r"known vectors are \(3,\)"),
        (np.ones((2, 3)), np.ones((2, 3), int), 1, "not .* of floats"),
        (np.ones((2, 3)), np.ones((2, 3)), 0, "number of neighbours is 0"),
    ],
)
def test_what_does_not_fit_is_told(known, asked, k, message):
    with pytest.raises(UsageError, match=message):
        search(known, asked, k=k)

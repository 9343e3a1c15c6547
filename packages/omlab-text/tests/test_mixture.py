"""Texts come by the shares of their sources, every one before any again, in rows that are nearly full."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import SettingsError
from omlab_text.recipes.mixture import packed_rows, shares_of, stream

SOURCES = ["books", "general", "notes"]


class Store(SimpleNamespace):
    def __len__(self):
        return len(self.lengths)


def store(count=300, *, seed=0):
    drawn = np.random.default_rng(seed)
    return Store(
        lengths=drawn.integers(2, 65, count).astype(np.int64), sources=SOURCES, source=drawn.integers(0, 3, count)
    )


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(2, 64), min_size=1, max_size=400), seed=st.integers(0, 9))
def test_rows_hold_every_piece_once_and_have_room_for_it(lengths, seed):
    given_lengths = np.array(lengths, np.int64)
    rows = list(packed_rows(iter(range(len(lengths))), given_lengths, longest=64, seed=seed))
    assert sorted(place for row in rows for place in row) == list(range(len(lengths)))
    assert max(int(given_lengths[row].sum()) for row in rows) <= 64


def test_without_shares_every_text_comes_once():
    assert sorted(stream(store(), shares=None, tokens=0, seed=1)) == list(range(300))


def test_shares_of_tokens_hold_at_any_time_and_no_text_comes_twice_too_early():
    texts = store()
    shares = shares_of(SOURCES, mixture=["books=3", "notes=1"], replay="general=0.2")
    assert shares == pytest.approx({"general": 0.2, "books": 0.6, "notes": 0.2})
    places = list(stream(texts, shares=shares, tokens=20_000, seed=1))
    for upto in (len(places) // 4, len(places)):
        tokens = np.bincount(texts.source[places[:upto]], weights=texts.lengths[places[:upto]])
        assert tokens / tokens.sum() == pytest.approx([0.6, 0.2, 0.2], abs=0.02)
    times = np.bincount(places, minlength=300)
    for source in range(3):
        assert np.ptp(times[texts.source == source]) <= 1
    assert places == list(stream(texts, shares=shares, tokens=20_000, seed=1))
    assert places != list(stream(texts, shares=shares, tokens=20_000, seed=2))


@pytest.mark.parametrize(
    ("mixture", "replay", "said"),
    [
        (["book=1"], "", "names the source 'book', which the training data lack: did you mean 'books'"),
        (["books"], "", "must be SOURCE=WEIGHT"),
        (["books=0"], "", "a weight above 0"),
        ([], "general=0.2", "weigh them, such as -s mixture=books=1,notes=1"),
        (["general=1"], "general=0.2", "must be a share below 1 of a source that mixture does not name"),
        (["books=1"], "general=1.5", "must be a share below 1"),
    ],
)
def test_wrong_shares_are_told(mixture, replay, said):
    with pytest.raises(SettingsError, match=said):
        shares_of(SOURCES, mixture=mixture, replay=replay)

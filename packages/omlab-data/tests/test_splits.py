"""Splits: by group, by seed and name alone, of the sizes asked for."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import SettingsError
from omlab_data.splits import Shares, split_by_group

GROUPS = st.lists(st.integers(0, 30).map(str), min_size=1, max_size=60)


@settings(max_examples=80)
@given(groups=GROUPS, seed=st.integers(0, 5), test=st.sampled_from([0, 0.2, 0.5]), val=st.sampled_from([0, 0.1, 0.3]))
def test_a_group_is_never_torn_and_order_does_not_matter(groups, seed, test, val):
    shares = Shares(test=test, val=val, seed=seed)
    sides = dict(zip(groups, split_by_group(groups, shares), strict=True))
    assert all(sides[group] == split for group, split in zip(groups, split_by_group(groups, shares), strict=True))
    assert dict(zip(groups[::-1], split_by_group(groups[::-1], shares), strict=True)) == sides
    counts = Counter(sides.values())
    assert counts["train"] >= 1
    assert (counts["test"] > 0) == (test > 0 and len(sides) > 1)
    assert abs(counts["test"] - test * len(sides)) <= 1
    assert abs(counts["val"] - val * len(sides)) <= 1


@settings(max_examples=40)
@given(count=st.integers(4, 40), folds=st.integers(2, 4), test=st.sampled_from([0, 0.3]))
def test_folds_share_out_what_is_not_tested(count, folds, test):
    groups = [f"p{n}" for n in range(count)]
    if folds > count - round(test * count):
        return
    vals, tested = Counter(), set()
    for fold in range(folds):
        splits = split_by_group(groups, Shares(test=test, folds=folds, fold=fold))
        vals.update(group for group, split in zip(groups, splits, strict=True) if split == "val")
        tested.add(tuple(group for group, split in zip(groups, splits, strict=True) if split == "test"))
    assert len(tested) == 1
    assert set(vals.values()) == {1}
    assert set(vals) | set(tested.pop()) == set(groups)


def test_a_split_stays_what_it_was():
    """Frozen: adapted models were trained on such splits."""
    groups = [f"patient {n}" for n in range(10)]
    expected = ["val", "train", "train", "train", "test", "train", "train", "train", "test", "train"]
    assert split_by_group(groups, Shares(seed=0)) == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"test": 0.8, "val": 0.3}, "nothing would be left"),
        ({"test": -0.1}, "nothing would be left"),
        ({"folds": 1}, "folds is 1"),
        ({"folds": 3, "fold": 3}, "of 3 folds the last is 2"),
    ],
)
def test_shares_that_cannot_be_are_one_sentence(settings, words):
    with pytest.raises(SettingsError, match=words):
        Shares(**settings)


def test_more_folds_than_groups_are_refused():
    with pytest.raises(SettingsError, match="there are only 2 groups"):
        split_by_group(["a", "b", "b"], Shares(test=0, folds=3))

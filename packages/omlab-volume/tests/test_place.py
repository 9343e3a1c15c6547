"""Where pictures look: at what differs, at what was pointed at, at what is labelled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_volume.labels import same_classes
from omlab_volume.pictures.place import place_of, thickest
from omlab_volume.volume import Label, LabelMap

SHAPE = (40, 50, 30)


def _blocks(*blocks: tuple[tuple[slice, slice, slice], int], labels: tuple[Label, ...] = ()) -> LabelMap:
    array = np.zeros(SHAPE, np.uint8)
    for where, value in blocks:
        array[where] = value
    return LabelMap(array=array, affine=np.eye(4), labels=labels)


BIG = np.s_[5:17, 5:17, 5:17]
SMALL = np.s_[30:34, 40:44, 20:24]
SHELL = np.s_[0:40, 0:50, 29:30]


def test_the_thickest_part_counts_not_the_largest_area() -> None:
    i, j, k = place_of(_blocks((BIG, 1), (SHELL, 2)), target=None, grid=_blocks().grid)
    assert all(9 <= n <= 12 for n in (i, j, k))


def test_what_differs_comes_before_what_was_pointed_at_and_what_is_labelled() -> None:
    found, target = _blocks((BIG, 1)), _blocks((BIG, 1), (SMALL, 2))
    grid = found.grid
    missed = place_of(found, target=target, grid=grid, pointed=(0, 0, 0))
    assert target.array[missed] == 2
    assert place_of(found, target=found, grid=grid, pointed=(1, 2, 3)) == (1, 2, 3)
    assert place_of(target, target=target, grid=grid) == place_of(target, target=None, grid=grid)
    empty = _blocks()
    assert place_of(empty, target=None, grid=grid) == place_of(None, target=None, grid=grid) == (19, 24, 14)


def test_classes_are_compared_by_name_and_only_those_of_the_target() -> None:
    names = (Label(value=1, name="liver"), Label(value=2, name="Left kidney"))
    others = (Label(value=7, name="left_kidney"), Label(value=3, name="spleen"), Label(value=9, name="LIVER"))
    target = _blocks((BIG, 1), (SMALL, 2), labels=names)
    found = _blocks((BIG, 9), (SMALL, 7), (SHELL, 3), labels=others)
    assert np.array_equal(same_classes(found, as_in=target), target.array)
    nameless = _blocks((BIG, 1), (SMALL, 2), (SHELL, 3))
    assert np.array_equal(same_classes(nameless, as_in=target), target.array)


@settings(max_examples=40)
@given(st.data())
def test_the_place_lies_in_the_subject(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(1, 90)) for _ in range(3))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    subject = generator.random(shape) < data.draw(st.sampled_from([0.001, 0.1, 0.9]))
    subject[tuple(generator.integers(0, n) for n in shape)] = True
    spacing = data.draw(st.sampled_from([(1.0, 1.0, 1.0), (0.3, 0.3, 5.0), (8.0, 0.1, 1.0)]))
    assert subject[thickest(subject, spacing=spacing)]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 2)])
def test_nothing_gives_the_middle(shape: tuple[int, int, int]) -> None:
    assert thickest(np.zeros(shape, bool), spacing=(1, 1, 1)) == tuple((n - 1) // 2 for n in shape)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from omlab_volume.inference.resample import (
    linear_steps,
    nearest_indices,
    resample,
    resample_labels,
    resampled_shape,
    separate_axis,
)

shapes = st.tuples(*[st.integers(1, 12)] * 3)


def zoom(array, shape, *, order):
    factors = [want / have for want, have in zip(shape, array.shape, strict=True)]
    return ndimage.zoom(array.astype(float), factors, order=order, mode="nearest", grid_mode=True)


@given(have=shapes, want=shapes, order=st.sampled_from([0, 1, 3]), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_resample_is_a_clipped_zoom(have, want, order, seed):
    array = np.random.default_rng(seed).normal(size=have).astype(np.float32)
    expected = np.clip(zoom(array, want, order=order), array.min(), array.max())
    got = resample(array, want, order=order)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-6)


@given(have=shapes, want=shapes, axis=st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_a_separate_axis_repeats_slices(have, want, axis):
    array = np.random.default_rng(1).normal(size=have).astype(np.float32)
    got = resample(array, want, separate=axis)
    for index, source in enumerate(nearest_indices(have[axis], want[axis])):
        plane = array.take(source, axis=axis)
        flat = [size for at, size in enumerate(want) if at != axis]
        expected = np.clip(zoom(plane, flat, order=3), plane.min(), plane.max())
        np.testing.assert_allclose(got.take(index, axis=axis), expected, atol=2e-6)


def test_long_axes_are_done_in_bands_of_the_same_values():
    array = np.random.default_rng(0).normal(size=(3, 2, 300)).astype(np.float32)
    np.testing.assert_allclose(
        resample(array, (3, 2, 211)), np.clip(zoom(array, (3, 2, 211), order=3), array.min(), array.max()), atol=2e-6
    )


def test_a_constant_stays_constant():
    assert (resample(np.full((3, 4, 5), 7.0), (8, 2, 9)) == 7).all()


@pytest.mark.parametrize(
    ("spacing", "target", "expected"),
    [
        ((5.0, 0.8, 0.8), (1.5, 1.5, 1.5), 0),
        ((0.8, 5.0, 0.8), (1.5, 1.5, 1.5), 1),
        ((2.0, 1.5, 1.2), (1.5, 1.5, 1.5), None),
        ((0.4, 1.6, 1.6), (1.5, 1.5, 1.5), None),  # two equally coarse axes
        ((1.0, 1.0, 1.0), (5.0, 1.0, 1.0), 0),  # the original is isotropic: the target decides
        ((3.0, 1.0, 1.0), (1.0, 1.0, 1.0), None),  # exactly three is not more than three
    ],
)
def test_separate_axis(spacing, target, expected):
    assert separate_axis(spacing, target) == expected


def test_shapes_round_half_to_even_and_never_to_nothing():
    assert resampled_shape((5, 5, 10), spacing=(0.1, 1.5, 0.8), target=(1.0, 1.0, 1.5)) == (1, 8, 5)
    assert resampled_shape((1, 1, 1), spacing=(0.01, 1, 1), target=(50, 1, 1)) == (1, 1, 1)


@given(have=st.integers(1, 20), want=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_linear_steps_are_a_linear_zoom(have, want):
    values = np.random.default_rng(have).normal(size=have)
    steps = linear_steps(have, want)
    got = values[steps.lower] * (1 - steps.weight) + values[steps.upper] * steps.weight
    np.testing.assert_allclose(got, zoom(values, (want,), order=1), atol=1e-6)
    assert (np.diff(steps.upper) >= 0).all()


def test_labels_take_the_class_of_more_than_half():
    labels = np.zeros((1, 1, 6), np.uint16)
    labels[0, 0] = [0, 300, 300, 300, 0, 7]
    assert resample_labels(labels, (1, 1, 3)).tolist() == [[[300, 300, 7]]]  # halves go to the higher class
    assert resample_labels(labels, (1, 1, 12), order=0)[0, 0].tolist() == np.repeat(labels[0, 0], 2).tolist()
    assert resample_labels(labels, (1, 1, 12)).dtype == np.uint16


@given(have=shapes, want=shapes, axis=st.sampled_from([None, 0, 1, 2]))
@settings(max_examples=30, deadline=None)
def test_label_resampling_makes_no_new_class(have, want, axis):
    labels = np.random.default_rng(0).integers(0, 4, have).astype(np.uint8)
    got = resample_labels(labels, want, separate=axis)
    assert got.shape == want
    assert set(np.unique(got)) <= {0, *np.unique(labels)}

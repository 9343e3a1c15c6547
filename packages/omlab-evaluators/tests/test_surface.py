import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from omlab_evaluators.segmentation.overlap import dice, volume_ml
from omlab_evaluators.segmentation.surface import bounding_box, surface_dice, surface_distances
from omlab_evaluators.segmentation.surfels import areas, codes

GOLDEN = json.loads((Path(__file__).parent / "golden" / "dsc_nsd.json").read_text())["cases"]

masks = arrays.arrays(bool, (4, 5, 3))
spacings = st.tuples(*[st.sampled_from([0.5, 0.9, 1.0, 2.5, 3.0])] * 3)


def ellipsoid(shape, center, radii):
    index = np.indices(shape).transpose(1, 2, 3, 0)
    return (((index - center) / np.array(radii)) ** 2).sum(axis=-1) <= 1


def nsd(reference, prediction, *, axes, tolerance, empty_value=math.nan):
    return surface_dice(
        surface_distances(reference, prediction, axes=axes),
        tolerance=tolerance,
        both_empty=not (reference.any() or prediction.any()),
        empty_value=empty_value,
    )


@pytest.mark.parametrize("case", GOLDEN, ids=[case.get("what", "ellipsoids") for case in GOLDEN])
def test_golden(case):
    shape = case["shape_zyx"]
    what = case.get("what")
    block = np.zeros(shape, dtype=bool)
    block[2:4, 2:4, 2:4] = True
    empty = np.zeros(shape, dtype=bool)
    if what is None:
        reference, prediction = ellipsoid(shape, **case["reference"]), ellipsoid(shape, **case["result"])
        assert [reference.sum(), prediction.sum()] == case["voxels"]
    else:
        reference = block if what == "result empty" else empty
        prediction = block if what == "reference empty" else empty
    axes = np.diag(case.get("spacing_zyx", [1, 1, 1]))
    # The reference code counts two empty masks as agreement; we leave them out unless told otherwise.
    found = nsd(reference, prediction, axes=axes, tolerance=case.get("tolerance_mm", 1), empty_value=1.0)
    assert dice(reference, prediction, empty_value=1.0) == pytest.approx(case["dsc"], abs=1e-12)
    assert found == pytest.approx(case["nsd"], abs=1e-12)


def brute_force(reference, prediction, spacing):
    """Distances and areas of all surfels of both masks, from the full matrix of distances."""
    table = areas(np.diag(spacing))
    first, second = codes(reference), codes(prediction)
    lists = [np.argwhere((code > 0) & (code < 255)) for code in (first, second)]
    gaps = np.linalg.norm((lists[0][:, None] - lists[1][None]) * spacing, axis=2)
    sizes = [table[code[tuple(points.T)]] for code, points in zip((first, second), lists, strict=True)]
    return np.concatenate([gaps.min(axis=1), gaps.min(axis=0)]), np.concatenate(sizes)


@given(masks, masks, spacings, st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]))
@settings(max_examples=60, deadline=None)
def test_agrees_with_brute_force(reference, prediction, spacing, tolerance):
    assume(reference.any() and prediction.any())
    found = surface_distances(reference, prediction, axes=np.diag(spacing))
    distances, sizes = brute_force(reference, prediction, spacing)
    assert found.within(tolerance) == pytest.approx(sizes[distances <= tolerance + 1e-6].sum() / sizes.sum())
    candidates = sorted(set(distances))
    enough = [d for d in candidates if sizes[distances <= d + 1e-9].sum() >= 0.95 * sizes.sum() - 1e-9]
    assert found.percentile(95) == pytest.approx(enough[0])


@given(masks, masks, spacings)
@settings(max_examples=40, deadline=None)
def test_is_symmetric_and_the_two_figures_agree(a, b, spacing):
    assume(a.any() and b.any())
    one, other = (surface_distances(*pair, axes=np.diag(spacing)) for pair in ((a, b), (b, a)))
    assert one.percentile(95) == pytest.approx(other.percentile(95))
    assert one.within(1.0) == pytest.approx(other.within(1.0))
    assert one.within(one.percentile(95)) >= 0.95 - 1e-9
    same = surface_distances(a, a, axes=np.diag(spacing))
    assert (same.percentile(100), same.within(0.0)) == (0.0, 1.0)


@given(masks, masks, spacings)
@settings(max_examples=20, deadline=None)
def test_empty_surroundings_change_nothing(a, b, spacing):
    assume(a.any() and b.any())
    small = surface_distances(a, b, axes=np.diag(spacing))
    large = surface_distances(np.pad(a, 3), np.pad(b, 3), axes=np.diag(spacing))
    np.testing.assert_array_equal(small.distances, large.distances)
    np.testing.assert_array_equal(small.areas, large.areas)


@pytest.mark.parametrize(("axis", "spacing"), [(0, 0.7), (1, 1.3), (2, 3.0)])
def test_a_slab_shifted_by_one_voxel_is_one_spacing_away(axis, spacing):
    reference = np.zeros((24, 24, 24), dtype=bool)
    inner = [slice(2, 22)] * 3
    inner[axis] = slice(10, 12)
    reference[tuple(inner)] = True
    found = surface_distances(reference, np.roll(reference, 1, axis=axis), axes=np.diag([0.7, 1.3, 3.0]))
    assert found.percentile(95) == pytest.approx(spacing)
    assert found.within(spacing) == 1.0
    assert found.within(spacing - 0.01) < 0.5


def test_spheres_of_different_radius_are_the_difference_apart():
    spacing = (1.0, 1.0, 2.0)
    index = (np.indices((48, 48, 24)).T - (24, 24, 12)).T * np.reshape(spacing, (3, 1, 1, 1))
    radius = np.sqrt((index**2).sum(axis=0))
    found = surface_distances(radius <= 12, radius <= 18, axes=np.diag(spacing))
    assert found.percentile(50) == pytest.approx(6, abs=0.75)
    assert found.percentile(95) == pytest.approx(6, abs=1.0)
    # One voxel, 2 mm along k, is how well a surface of voxels is known.
    assert found.within(3.9) == 0.0
    assert found.within(8.1) == 1.0


def test_a_spacing_in_single_precision_is_still_within_its_tolerance():
    reference = ellipsoid((9, 9, 9), (4, 4, 4), (2, 2, 2))
    spacing = float(np.nextafter(np.float32(2.0), np.float32(3.0)))
    found = surface_distances(reference, np.roll(reference, 1, axis=0), axes=np.diag([spacing] * 3))
    assert found.within(2.0) == 1.0


def test_a_rotated_grid_gives_the_same_distances():
    reference = ellipsoid((12, 12, 12), (5, 5, 5), (3, 3, 3))
    prediction = ellipsoid((12, 12, 12), (6, 5, 7), (4, 3, 4))
    spacing = np.diag([0.7, 1.3, 2.9])
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    straight = surface_distances(reference, prediction, axes=spacing)
    turned = surface_distances(reference, prediction, axes=rotation @ spacing)
    np.testing.assert_allclose(turned.distances, straight.distances)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="different shapes"):
        surface_distances(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), axes=np.eye(3))
    with pytest.raises(ValueError, match="different shapes"):
        dice(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool))


@given(masks, masks)
@settings(max_examples=40, deadline=None)
def test_dice_is_the_harmonic_mean_of_precision_and_recall(a, b):
    both = {tuple(i) for i in np.argwhere(a)} & {tuple(i) for i in np.argwhere(b)}
    assume(both)
    precision, recall = len(both) / b.sum(), len(both) / a.sum()
    assert dice(a, b) == pytest.approx(2 * precision * recall / (precision + recall))


def test_dice_of_empty_masks():
    full, empty = np.ones((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    assert dice(full, empty) == dice(empty, full) == 0
    assert math.isnan(dice(empty, empty))


def test_volume():
    assert volume_ml(500, axes=np.diag([-2.0, 1.0, 3.0])) == pytest.approx(3.0)


@given(masks)
@settings(max_examples=20, deadline=None)
def test_the_bounding_box_is_the_smallest(mask):
    assume(mask.any())
    where = np.argwhere(mask)
    box = bounding_box(mask)
    assert [s.start for s in box] == where.min(axis=0).tolist()
    assert [s.stop - 1 for s in box] == where.max(axis=0).tolist()

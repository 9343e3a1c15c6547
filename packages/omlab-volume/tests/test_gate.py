"""The gate tells what is doubtful about a volume or a result, and leaves good ones alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from omlab_volume.gate.learn import Learner
from omlab_volume.gate.look import Look
from omlab_volume.gate.orientation import SIZE, TURNS
from omlab_volume.gate.result import check as check_result
from omlab_volume.gate.slices import slice_axis
from omlab_volume.gate.values import guess_values
from omlab_volume.gate.volume import check
from omlab_volume.testing import odd_volumes
from omlab_volume.volume import Label, LabelMap, Volume

CARD = {"values": "hu", "spacing": [[2.0, 12.0], [2.0, 12.0], [2.0, 12.0]], "region": "trunk"}
LABELS = (Label(value=1, name="liver"), Label(value=2, name="spleen"))


def trunk(seed):
    """A coarse trunk in HU along RAS+ axes (x, y, z): lungs above, a liver on the right, spine and table behind."""
    rng = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*(np.arange(n) for n in (48, 40, 36)), indexing="ij")
    x, y, z = (i - 24) * 8.0, (j - 20) * 8.0, k * 8.0
    width, depth = rng.uniform(140, 155), rng.uniform(95, 110)
    body = (x / width) ** 2 + (y / depth) ** 2 < 1
    hu = np.full(i.shape, -1000.0)
    hu[(y < -depth - 6) & (y > -depth - 18) & (np.abs(x) < 120)] = -150
    hu[body] = -90
    inner = (x / (width - 18)) ** 2 + (y / (depth - 14)) ** 2 < 1
    hu[inner] = rng.uniform(25, 45)
    top = rng.uniform(170, 190)
    dome = top - 0.004 * (np.abs(x) - 70) ** 2 - 0.006 * y**2
    hu[inner & (z > dome) & (np.abs(x) > 25)] = -840
    liver = (x - 70) ** 2 / 60**2 + (y - 10) ** 2 / 60**2 + (z - 130) ** 2 / 45**2 < 1
    spleen = (x + 95) ** 2 / 25**2 + (y + 30) ** 2 / 30**2 + (z - 135) ** 2 / 35**2 < 1
    hu[liver], hu[spleen] = rng.uniform(95, 115), rng.uniform(115, 130)
    hu[(np.abs(x) < 18) & (np.abs(y + depth - 35) < 18)] = 450
    hu += np.sin(z / 30) * 4 + rng.normal(0, 8, hu.shape)
    affine = np.diag([8.0, 8.0, 8.0, 1.0])
    labels = (liver + 2 * (spleen & ~liver)).astype(np.uint8)
    return (
        Volume(array=hu.astype(np.float32)[None], affine=affine, intensity="hu"),
        LabelMap(array=labels, affine=affine, labels=LABELS),
    )


@pytest.fixture(scope="module")
def learned():
    learner = Learner()
    for seed in range(6):
        learner.add(*trunk(seed))
    return learner.expects()


@pytest.fixture
def good():
    return trunk(40)[0]


def doubts(volume, expected=CARD):
    return " ".join(check(volume, expected)["doubts"])


def changed(volume, change, **more):
    return replace(volume, array=np.ascontiguousarray(change(volume.array)), **more)


@pytest.mark.parametrize("seed", [40, 41, 42])
def test_good_volumes_are_left_alone(seed, learned):
    volume, labelmap = trunk(seed)
    assert check(volume, CARD)["doubts"] == []
    assert check(volume, learned["volume"])["doubts"] == []
    assert check_result(labelmap, learned["labelmap"])["doubts"] == []
    stored = replace(volume, array=volume.array[:, ::-1].copy(), affine=volume.affine @ np.diag([-1, 1, 1, 1.0]))
    assert check(stored, learned["volume"])["doubts"] == []  # a header that says so is no flip


@pytest.mark.parametrize(("axis", "name"), [(1, "left-right"), (2, "front-back"), (3, "head-feet")])
def test_a_flip_with_an_intact_header_is_told(axis, name, good, learned):
    flipped = changed(good, lambda array: np.flip(array, axis))
    assert f"looks flipped {name}" in doubts(flipped, learned["volume"])
    assert (f"looks flipped {name}" in doubts(flipped)) == (name != "left-right")  # a card alone cannot tell that one


def test_a_body_alike_on_both_sides_has_no_left_and_right(good):
    learner = Learner()
    for seed in range(6):
        volume, _ = trunk(seed)
        learner.add(changed(volume, lambda array: (array + np.flip(array, 1)) / 2), None)
    expected = learner.expects()["volume"]
    same = changed(good, lambda array: (array + np.flip(array, 1)) / 2)
    found = check(changed(same, lambda array: np.flip(array, 1)), expected)
    assert found["doubts"] == []
    assert "flipped left-right" in found["not_told"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda array: array + 1024, "CT with an offset of [+]10"),
        (lambda array: np.clip((array + 160) / 400, 0, 1), "numbers scaled to 1"),
        (lambda array: np.clip((array + 160) / 400 * 255, 0, 255), "numbers scaled to 0..255"),
        (lambda array: np.abs(np.interp(array, [-1000, -100, 30, 500], [0, 900, 400, 50])), "MR or another modality"),
    ],
)
def test_numbers_that_are_no_hu_are_told(change, sentence, good, learned):
    for expected in (CARD, learned["volume"]):
        found = doubts(changed(good, change), expected)
        assert pytest.importorskip("re").search(sentence, found)
    assert "said" not in doubts(good)


def test_a_modality_that_the_header_names_is_believed(good):
    assert "It says that it is MR" in doubts(replace(good, intensity="mr"))


def test_ct_given_to_a_model_of_mr_is_told(good):
    assert "made for MR, but its values look like CT" in doubts(replace(good, intensity="unknown"), {"values": "mr"})


@pytest.mark.parametrize(("axis", "name"), [(1, "left-right"), (2, "front-back"), (3, "head-feet")])
def test_half_the_field_of_view_is_told(axis, name, good, learned):
    half = changed(good, lambda array: array.take(range(array.shape[axis] // 2), axis=axis))
    assert "field of view is unusual" in doubts(half, learned["volume"])
    assert name in doubts(half, learned["volume"])
    assert ("cut off" in doubts(half)) == (axis != 3)  # a card alone does not know how long a scan is


def test_a_part_of_a_body_is_right_for_a_model_that_expects_no_field_of_view(good):
    half = changed(good, lambda array: array.take(range(array.shape[1] // 2), axis=1))
    assert [doubts(half, expected) for expected in ({}, {"values": "hu"})] == ["", ""]


def test_slices_that_are_missing_blank_or_repeated_are_told(good):
    moving = changed(good, lambda array: array + 60 * np.sin(np.arange(36) / 6)[None, None, None])
    assert doubts(moving) == ""
    assert "slices are missing" in doubts(changed(moving, lambda array: np.delete(array, range(2, 10), axis=3)))
    blank = moving.array.copy()
    blank[..., 15:17] = -1000
    assert "2 slices between others show nothing" in doubts(changed(moving, lambda array: blank))
    again = moving.array.copy()
    again[..., 15] = again[..., 14]
    assert "One slice is the same as the one before" in doubts(changed(moving, lambda array: again))


def test_voxels_of_another_size_are_told(good):
    small = replace(good, affine=np.diag([0.8, 0.8, 0.8, 1.0]))
    assert "voxel size is unusual: 0.8 mm head-feet (expected 2 to 12)" in doubts(small)


def test_nothing_is_expected_of_a_card_without_entries(good):
    found = check(changed(good, lambda array: array + 5000), {})
    assert found["doubts"] == []
    assert found["values"] == "offset"


@pytest.mark.parametrize("name", list(odd_volumes()))
def test_odd_volumes_can_be_looked_at(name, learned):
    for expected in (CARD, learned["volume"], {}):
        assert isinstance(check(odd_volumes()[name], expected)["doubts"], list)


@settings(max_examples=15, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 40)] * 3), seed=st.integers(0, 99))
def test_any_grid_can_be_looked_at(shape, seed):
    array = np.random.default_rng(seed).normal(0, 300, (1, *shape))
    found = check(Volume(array=array, affine=np.diag([1.0, 2.0, 3.0, 1.0])), CARD)
    assert all(isinstance(doubt, str) for doubt in found["doubts"])
    assert Look(Volume(array=array, affine=np.eye(4))).thumbnail(SIZE).shape == (SIZE, SIZE, SIZE)


def test_slices_lie_along_the_longest_voxels():
    array = np.zeros((1, 8, 8, 8))
    assert slice_axis(Look(Volume(array=array, affine=np.diag([1.0, 4.0, 1.0, 1.0])))) == 1
    assert slice_axis(Look(Volume(array=array, affine=np.eye(4)))) == 0


def test_every_turn_is_another_one():
    thumbnail = np.random.default_rng(0).random((SIZE,) * 3).astype(np.float32)
    assert len({turn.of(thumbnail).tobytes() for turn in TURNS} | {thumbnail.tobytes()}) == 48


def test_structures_of_unusual_size_are_told(learned):
    _, labelmap = trunk(41)
    shrunk = replace(labelmap, array=np.where(np.arange(48)[:, None, None] > 32, 0, labelmap.array).astype(np.uint8))
    (sentence,) = check_result(shrunk, learned["labelmap"])["doubts"]
    assert sentence.startswith("liver is unusually small")
    cut = replace(shrunk, array=shrunk.array[:33], affine=shrunk.affine)
    assert check_result(cut, learned["labelmap"])["doubts"] == []  # the liver goes on beyond the image
    assert check_result(labelmap, {"volume_ml": {"liver": [1, 2, 3]}})["doubts"] == []  # too few cases to say


def test_a_liver_on_the_left_is_told():
    _, labelmap = trunk(1)
    expected = {"right_of": [["liver", "spleen"]]}
    assert check_result(labelmap, expected)["doubts"] == []
    mirrored = replace(labelmap, array=labelmap.array[::-1].copy())
    assert "flipped left-right?" in check_result(mirrored, expected)["doubts"][0]
    stored = replace(mirrored, affine=labelmap.affine @ np.diag([-1, 1, 1, 1.0]))
    assert check_result(stored, expected)["doubts"] == []


def test_few_cases_make_no_template_and_no_ranges():
    learner = Learner()
    for seed in range(2):
        learner.add(*trunk(seed))
    assert "template" not in learner.expects()["volume"]
    assert Learner().expects() == {}


def test_values_are_guessed_by_the_numbers_alone(good):
    assert guess_values(Look(good)) == "hu"
    tight = changed(good, lambda array: array[:, 8:34, 16:28, 4:14])
    assert guess_values(Look(tight)) == "hu"  # no air is left in it


def test_blur_is_told_by_training_cases_and_in_ct_without(learned):
    good, _ = trunk(20)
    steps = [(sigma / 8.0,) * 3 for sigma in (4.0, 12.0)]
    slight, strong = (replace(good, array=gaussian_filter(good.array, (0, *by))) for by in steps)
    assert "blurred" not in doubts(good, learned["volume"])
    assert "blurred" not in doubts(good, CARD)
    assert doubts(strong, learned["volume"]).count("looks blurred: its edges are") == 1
    assert "those of CT hardly" in doubts(strong, CARD)
    assert "blurred" not in doubts(replace(strong, array=strong.array + 1024), {"values": "mr"})
    widths = [check(volume, {})["edge_mm"] for volume in (good, slight, strong)]
    assert widths == sorted(widths)
    assert 8 <= widths[0] < 12  # its edges are a voxel wide

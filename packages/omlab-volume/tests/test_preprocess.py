import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from omlab.errors import GeometryError, InputError, OmlabWarning, SettingsError
from omlab_testkit.golden import uniform
from omlab_volume.inference.export import labels_from_scores
from omlab_volume.inference.preprocess import (
    Plan,
    nonzero_box,
    normalise,
    prepare,
    prepare_labels,
    warn_without_contrast,
)
from omlab_volume.inference.resample import resample
from omlab_volume.volume import LabelMap, Source, Volume

GOLDEN = json.loads((Path(__file__).parent / "golden" / "stunet_algorithms.json").read_text())
CASES = {case["name"]: case for case in GOLDEN["preprocess"]}
PLAN = Plan(spacing=(1.5, 1.5, 1.5), patch_size=(32, 32, 32))


def drawn(name, spec):
    flat = uniform(int(np.prod(spec["shape"])), salt=spec["salt"], name=name)
    return (spec["low"] + flat * (spec["high"] - spec["low"])).astype(np.float32).reshape(spec["shape"])


def golden_volume(case):
    ((name, spec),) = case["draw"].items()
    array = drawn(name, spec)
    array[:, :1] = array[:, :, :2] = array[:, :, :, -2:] = 0
    return Volume(array=array.transpose(0, 3, 2, 1), affine=np.diag([*case["spacing"][::-1], 1]))


def check(array, expected):
    assert list(array.shape) == expected["shape"]
    flat = np.asarray(array, np.float64).ravel()
    tolerance = GOLDEN["rtol"] * expected["std"]
    np.testing.assert_allclose(flat[expected["index"]], expected["value"], rtol=0, atol=tolerance)
    assert abs(flat.mean() - expected["mean"]) < tolerance
    assert abs(flat.std() - expected["std"]) < tolerance


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_golden_there_and_back(case):
    prepared = prepare(golden_volume(case), PLAN)
    assert [list(bounds) for bounds in prepared.box] == case["crop_bbox"]
    assert (prepared.separate is not None) == case["separate_z"]
    check(prepared.array, case["normalised"])
    value = torch.from_numpy(prepared.array[0])
    scores = torch.softmax(torch.stack([value, -value, 0.5 * torch.cos(value)]), dim=0)
    back = [resample(one, prepared.cropped_shape, order=1, separate=prepared.separate) for one in scores.numpy()]
    check(np.stack(back), case["export"]["resampled"])
    labels = labels_from_scores(scores, prepared.cropped_shape, separate=prepared.separate)
    assert np.bincount(labels.ravel(), minlength=3).tolist() == case["export"]["label_counts"]


def volume(array, spacing=(1.5, 1.5, 1.5)):
    return Volume(array=np.asarray(array), affine=np.diag([*spacing, 1.0]))


@given(seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_the_box_needs_no_filled_holes(seed):
    array = np.random.default_rng(seed).random((2, 6, 7, 5)) > 0.97
    filled = ndimage.binary_fill_holes(array.any(axis=0))
    expected = ndimage.find_objects(filled.astype(int)) or [tuple(slice(0, n) for n in filled.shape)]
    assert nonzero_box(array) == tuple((part.start, part.stop) for part in expected[0])


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
def test_without_contrast_everything_is_zero_and_kept(value):
    with pytest.warns(OmlabWarning, match="A volume shows nothing .*: what a model makes of it means nothing"):
        prepared = prepare(volume(np.full((1, 4, 5, 6), value)), PLAN)
    assert prepared.cropped_shape == (6, 5, 4)
    assert (np.abs(prepared.array) < 1e-5).all()


def test_nan_and_infinity_become_zero():
    array = np.ones((1, 4, 4, 4), np.float32)
    array[0, 1, 2, 3], array[0, 0, 0, 0], array[0, 3, 3, 3] = np.nan, np.inf, 2
    prepared = prepare(volume(array), Plan(spacing=None, patch_size=(4, 4, 4), normalisation="none"))
    assert prepared.array[0, 3, 2, 1] == 0
    assert prepared.array[0, 0, 0, 0] == 0
    assert np.isfinite(prepared.array).all()
    assert np.isnan(array[0, 1, 2, 3])  # the caller's array is left alone


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.bool_, np.float64])
def test_each_channel_without_contrast_is_named(dtype):
    array = np.zeros((3, 2, 2, 2), dtype)
    array[1, 0, 0, 0] = 1
    image = Volume(array=array, affine=np.eye(4), source=Source(format="nifti", paths=(Path("a/ct.nii"),)))
    with pytest.warns(OmlabWarning) as caught:
        warn_without_contrast(image)
    assert [str(warning.message).partition(" shows")[0] for warning in caught] == [
        f"ct.nii, channel {number}," for number in (1, 3)
    ]


def test_what_float32_cannot_hold_is_taken_as_nothing():
    array = np.ones((1, 3, 3, 3))
    array[0, 0, 0, 0], array[0, 1, 1, 1] = 1e300, 2
    assert np.isfinite(prepare(volume(array), PLAN).array).all()


def test_ct_normalisation_clips_and_scales():
    plan = Plan(
        spacing=None,
        patch_size=(2, 2, 2),
        normalisation="ct",
        percentile_low=-100,
        percentile_high=300,
        mean=100,
        std=50,
    )
    channel = np.array([-1000.0, 100, 1000], np.float32)
    assert normalise(channel, plan).tolist() == [-4, 0, 4]


def test_the_order_of_steps_matters_only_for_v2():
    array = np.random.default_rng(0).normal(size=(1, 8, 8, 8)).astype(np.float32) + 5
    first = prepare(volume(array, (3, 3, 3)), PLAN).array
    later = prepare(
        volume(array, (3, 3, 3)), Plan(spacing=(1.5,) * 3, patch_size=(8, 8, 8), order="normalise_first")
    ).array
    assert abs(first.std() - 1) < 1e-3
    assert abs(later.std() - 1) > 0.05


def test_channels_keep_their_own_statistics():
    array = np.random.default_rng(0).normal(size=(2, 6, 6, 6)) * np.array([1, 50]).reshape(2, 1, 1, 1)
    prepared = prepare(volume(array), PLAN, channels=2)
    np.testing.assert_allclose(prepared.array.std(axis=(1, 2, 3)), 1, rtol=1e-3)
    with pytest.raises(InputError, match=r"takes 1 channel.* has 2"):
        prepare(volume(array), PLAN, channels=1)


def test_one_slice_and_extreme_spacing():
    one = prepare(volume(np.random.default_rng(0).random((1, 9, 8, 1)), (0.5, 0.5, 40.0)), PLAN)
    assert one.shape == (27, 3, 3)
    thin = prepare(volume(np.random.default_rng(0).random((1, 9, 8, 2)), (1.5, 1.5, 0.01)), PLAN)
    assert thin.shape == (1, 8, 9)
    with pytest.raises(GeometryError, match="spacing"):
        prepare(volume(np.random.default_rng(0).random((1, 64, 64, 64)), (1e5, 1e5, 1e5)), PLAN)


def test_complex_values_are_refused():
    with pytest.raises(InputError, match="complex"):
        prepare(volume(np.ones((1, 2, 2, 2), complex)), PLAN)


def test_labels_follow_their_image():
    array = np.zeros((1, 10, 12, 8), np.float32)
    array[:, 2:8, 3:9, 1:7] = np.random.default_rng(0).random((6, 6, 6)) + 1
    classes = np.zeros((10, 12, 8), np.uint8)
    classes[4:8, 3:6, 1:7] = 2
    affine = np.diag([-3.0, 3.0, 3.0, 1.0])
    image = Volume(array=array, affine=affine)
    labels = LabelMap(array=classes, affine=affine)
    prepared = prepare(image, PLAN)
    for order in (0, 1):
        target = prepare_labels(labels, prepared, order=order)
        assert target.shape == prepared.shape == (12, 12, 12)
        assert np.bincount(target.ravel())[2] == 8 * (classes == 2).sum()
        assert target[0, 0, 0] == 2  # x runs backwards in the file
    with pytest.raises(GeometryError, match="grid"):
        prepare_labels(LabelMap(array=classes, affine=np.diag([3.0, 3.0, 3.0, 1.0])), prepared)


def test_plans_survive_json_and_refuse_nonsense():
    plan = Plan(
        spacing=(5.0, 1.0, 1.0), patch_size=(16, 32, 32), normalisation="ct",
        percentile_low=-1.0, percentile_high=1.0, mean=0.0, std=1.0, order="normalise_first",
    )  # fmt: skip
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert Plan.from_dict({"spacing": None, "patch_size": [1, 2, 3]}).spacing is None
    for wrong in (
        {"spacing": (0, 1, 1), "patch_size": (2, 1, 1)},
        {"spacing": None, "patch_size": (1, 1, 1)},
        {"spacing": None, "patch_size": (0, 1, 1)},
        {"spacing": None, "patch_size": (1, 1, 1), "normalisation": "hu"},
        {"spacing": None, "patch_size": (1, 1, 1), "normalisation": "ct"},
        {"spacing": None, "patch_size": (1, 1, 1), "colour": 1},
        {"spacing": None},
    ):
        with pytest.raises(SettingsError):
            Plan.from_dict(wrong)

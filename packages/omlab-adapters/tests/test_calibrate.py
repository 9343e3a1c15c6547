"""A confidence is the Dice that structures of such margins had, monotone, and only told after calibration."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import GeometryError, TrainingError, UsageError
from omlab_adapters.calibrate import Calibrate
from omlab_adapters.confidence import Calibration, compared, fit
from omlab_payloads.sureness import FEATURES
from omlab_testkit.parity import load_file
from omlab_volume.volume import Label, LabelMap

segmenters = load_file(Path(__file__).with_name("segmenters.py"))
BlobData, SureBase = segmenters.BlobData, segmenters.SureBase


def drawn(count=60, *, seed=0):
    """Features that tell the Dice, but for some noise."""
    rng = np.random.default_rng(seed)
    margin = rng.uniform(0.2, 1, count)
    features = np.stack([margin, 1 - margin, margin / 2, 1 - margin / 2], axis=1)
    dice = np.clip(margin + rng.normal(0, 0.03, count), 0, 1)
    return features, dice, {"cases": (names := [f"case-{n % 12}" for n in range(count)]), "groups": names}


def calibrated(base, data, folder, *, split="val"):
    adapter = Calibrate(split=split)
    made = adapter.fit(base, data, recipe=None, settings={}, seed=0, folder=folder)
    return adapter.restore(base, config=json.loads(json.dumps(made.config)), tensors=made.tensors)


def of(found, margin):
    values = (margin, 1 - margin, margin / 2, 1 - margin / 2)
    return found.confidence(dict(zip(FEATURES, values, strict=True)))


def test_confidence_is_about_the_dice_that_was_there():
    features, dice, whose = drawn()
    found = fit(features, dice, **whose)
    assert found.error < 0.08 < found.by_chance
    for margin in (0.3, 0.6, 0.9):
        assert of(found, margin) == pytest.approx(margin, abs=0.1)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_map_is_monotone_whatever_it_is_fitted_to(seed):
    rng = np.random.default_rng(seed)
    names = [str(n % 6) for n in range(24)]
    found = fit(rng.random((24, 4)), rng.random(24), cases=names, groups=names)
    assert [np.sign(w) in (0, sign) for w, sign in zip(found.weights, (1, -1, 1, -1), strict=True)] == [True] * 4
    assert of(found, 0.9) >= of(found, 0.5) >= of(found, 0.1)
    assert Calibration.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_few_cases_are_refused_in_a_sentence():
    features, dice, _ = drawn(8)
    with pytest.raises(TrainingError, match="8 structures in 2 cases are too few"):
        fit(features, dice, cases=["a"] * 4 + ["b"] * 4, groups=["p"] * 4 + ["q"] * 4)
    with pytest.raises(TrainingError, match=r"8 structures in 4 cases of 2 groups \(patients\) are too few"):
        fit(features, dice, cases=["a", "b", "c", "d"] * 2, groups=["p", "p", "q", "q"] * 2)


def test_cases_of_a_patient_are_left_out_together():
    """A patient's structures are alike in what the figures do not tell: they say too much of each other."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(6), 8)
    features = np.repeat(rng.random((6, 4)), 8, axis=0) + rng.normal(0, 0.01, (48, 4))
    dice = np.repeat(rng.uniform(0.2, 0.9, 6), 8)
    cases, groups = [str(n) for n in range(48)], [str(patient) for patient in patients]
    alone, together = fit(features, dice, cases=cases, groups=cases), fit(features, dice, cases=cases, groups=groups)
    assert together.error > 1.2 * alone.error
    assert (together.cases, together.groups) == (48, 6)
    assert (together.weights, together.offset) == (alone.weights, alone.offset)


def test_classes_that_the_target_does_not_know_are_left_out():
    array = np.array([1, 1, 2, 3], np.uint8).reshape(4, 1, 1)
    features = dict.fromkeys(FEATURES, 0.5)
    names = {1: "Left kidney", 2: "spleen", 3: "heart"}
    result = LabelMap(
        array=array,
        affine=np.eye(4),
        labels=[Label(value=value, name=name) for value, name in names.items()],
        facts={"structures": dict.fromkeys(names.values(), features)},
    )
    target = LabelMap(
        array=np.array([7, 0, 9, 9], np.uint8).reshape(4, 1, 1),
        affine=np.eye(4),
        labels=[Label(value=7, name="left_kidney"), Label(value=9, name="spleen")],
    )
    assert [dice for _, dice in compared(result, target)] == pytest.approx([2 / 3, 2 / 3])
    assert [dice for _, dice in compared(result, target, ignored=[9])] == pytest.approx([2 / 3])


@pytest.mark.parametrize("kind", segmenters.GIVES)
def test_a_model_that_is_too_sure_is_as_sure_as_it_is_right_once_calibrated(tmp_path, kind):
    base, data = SureBase(kind), BlobData(kind)
    model = calibrated(base, data, tmp_path)
    cases = data.cases("test")
    results = list(model.predict([case.inputs for case in cases]))
    assert {type(result).kind for result in results} == {segmenters.GIVES[kind]}
    told = [result.facts["structures"]["blob"] for result in results]
    margin, confidence = (np.array([facts[key] for facts in told]) for key in ("margin", "confidence"))
    dice = np.array([dice_of(result, case.target) for result, case in zip(results, cases, strict=True)])
    assert (margin - dice).mean() > 0.15
    assert np.abs(confidence - dice).mean() < 0.05
    surest = confidence > np.median(confidence)
    for half in (surest, ~surest):
        assert confidence[half].mean() == pytest.approx(dice[half].mean(), abs=0.04)
    about = results[0].facts["calibration"]
    assert about["cases"] == segmenters.CASES["val"]
    assert about["error"] < 0.05 < about["by_chance"]
    (plain,) = base.session().apply("predict", [cases[0].inputs])
    assert "confidence" not in plain.facts["structures"]["blob"]


def test_groups_are_those_of_the_data_set(tmp_path):
    data = BlobData("image")
    for number, case in enumerate(data.cases("val")):
        data.cases("val")[number] = replace(case, group=f"patient {number // 4}" if number < 20 else None)
    made = Calibrate(split="val").fit(SureBase("image"), data, recipe=None, settings={}, seed=0, folder=tmp_path)
    assert (made.config["cases"], made.config["groups"]) == (40, 5 + 20)
    assert made.history[0]["groups"] == 25


def dice_of(result, target):
    return 2 * (result.array & target.array).sum() / (result.array.sum() + target.array.sum())


def test_a_split_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no split 'held-out'.*it has train, val, test"):
        calibrated(SureBase("clip"), BlobData("clip"), tmp_path, split="held-out")


def test_a_model_that_does_not_say_how_sure_it_is_is_refused(tmp_path, monkeypatch):
    base = SureBase("image")
    predict = base.session().model.predict
    monkeypatch.setattr(base.session().model, "predict", lambda batch: [one.telling({}) for one in predict(batch)])
    with pytest.raises(TrainingError, match="does not say how sure it is"):
        calibrated(base, BlobData("image"), tmp_path)


def test_label_maps_on_other_pixels_than_their_image_are_refused(tmp_path):
    data = BlobData("image")
    case = data.cases("val")[0]
    data.cases("val")[0] = replace(case, target=replace(case.target, array=case.target.array[:8]))
    with pytest.raises(GeometryError, match=r"'val-0' lies on another grid"):
        calibrated(SureBase("image"), data, tmp_path)


def test_labels_of_other_classes_than_the_model_finds_are_refused(tmp_path):
    data = BlobData("image")
    for number, case in enumerate(data.cases("val")):
        data.cases("val")[number] = replace(case, target=case.target.named({1: "vessel"}))
    with pytest.raises(TrainingError, match="0 structures in 0 cases are too few"):
        calibrated(SureBase("image"), data, tmp_path)

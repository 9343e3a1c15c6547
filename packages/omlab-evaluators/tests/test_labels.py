import numpy as np
import pytest

from omlab.errors import InputError, OmlabWarning, SettingsError
from omlab_evaluators.segmentation.labels import Pair, match_labels


@pytest.fixture
def label_map(stand_ins):
    def make(names, array=(0,)):
        labels = [stand_ins.Label(value, name) for value, name in names.items()]
        return stand_ins.LabelMap(np.reshape(np.array(array, dtype=np.uint8), (-1, 1, 1)), labels=labels)

    return make


def test_names_decide_whatever_the_values(label_map):
    target = label_map({0: "background", 1: "liver", 2: "kidney_left"})
    prediction = label_map({7: "Kidney-Left", 5: "liver", 9: "aorta"})
    assert match_labels(target, prediction, wanted=()) == [Pair("liver", 1, 5), Pair("kidney_left", 2, 7)]


def test_values_decide_where_one_map_has_no_names(label_map):
    named, bare = label_map({1: "liver", 2: "spleen"}), label_map({}, array=(0, 2, 3))
    assert match_labels(named, bare, wanted=()) == [Pair("liver", 1, 1), Pair("spleen", 2, 2)]
    assert match_labels(bare, named, wanted=()) == [Pair("spleen", 2, 2), Pair("label 3", 3, 3)]
    assert match_labels(bare, bare, wanted=()) == [Pair("label 2", 2, 2), Pair("label 3", 3, 3)]


def test_wanted_chooses_by_name_or_value_in_its_own_order(label_map):
    target = label_map({1: "liver", 2: "spleen", 3: "aorta"})
    chosen = match_labels(target, target, wanted=("aorta", "1"))
    assert [pair.name for pair in chosen] == ["aorta", "liver"]
    assert [p.reference for p in match_labels(label_map({}, array=(0,)), target, wanted=(4,))] == [4]


def test_an_unknown_wanted_class_is_told_with_the_known_ones(label_map):
    target = label_map({1: "liver", 2: "spleen"})
    for wrong in ("pancreas", 9):
        with pytest.raises(SettingsError, match="liver, spleen"):
            match_labels(target, target, wanted=(wrong,))


def test_a_class_that_the_prediction_cannot_have_is_warned_about(label_map):
    target, prediction = label_map({1: "liver", 2: "spleen"}), label_map({1: "liver"})
    with pytest.warns(OmlabWarning, match="no class 'spleen'"):
        pairs = match_labels(target, prediction, wanted=())
    assert pairs[1] == Pair("spleen", 2, None)


def test_maps_without_a_common_class_are_refused(label_map):
    with pytest.raises(InputError, match=r"'liver'.*'femur'"):
        match_labels(label_map({1: "liver"}), label_map({1: "femur"}), wanted=())


def test_two_classes_of_one_name_are_refused(label_map):
    twice = label_map({1: "liver", 2: "Liver"})
    with pytest.raises(InputError, match="classes of the prediction"):
        match_labels(label_map({1: "liver"}), twice, wanted=())
    with pytest.raises(InputError, match="classes of the reference"):
        match_labels(twice, label_map({1: "liver"}), wanted=())

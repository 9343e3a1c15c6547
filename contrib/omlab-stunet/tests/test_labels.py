from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omlab.errors import UsageError
from omlab_stunet.labels import class_names, downstream, downstream_names, labels_for, to_downstream
from omlab_volume.volume import LabelMap

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "labels.json").read_text())


def test_class_lists_are_upstreams() -> None:
    assert class_names(105) == GOLDEN["totalsegmentator_105"]
    assert class_names(10) == GOLDEN["abdomen_atlas_mini_10"]
    assert class_names(3) == ["background", "class_1", "class_2"]


def test_downstream_tables_are_upstreams_with_its_missing_names_standing_for_themselves() -> None:
    golden = GOLDEN["direct_inference"]
    assert downstream_names() == list(golden["datasets"])
    for name, table in golden["datasets"].items():
        found = {",".join(map(str, region.values)): (region.organ, list(region.classes)) for region in downstream(name)}
        assert found == {k: (organ, golden["organ_to_classes"].get(organ, [organ])) for k, organ in table.items()}


@pytest.mark.parametrize("name", downstream_names())
def test_every_downstream_class_is_one_of_totalsegmentators(name: str) -> None:
    assert {c for region in downstream(name) for c in region.classes} <= set(class_names(105))


def test_codes_are_well_formed_and_name_one_structure_each() -> None:
    for classes in (105, 10):
        codes = [label.code.value for label in labels_for(classes) if label.code]
        assert len(set(codes)) == len(codes) >= 9
        assert all(_verhoeff(code) for code in codes)


def test_labels_start_above_the_background() -> None:
    labels = labels_for(105)
    assert [label.value for label in labels] == list(range(1, 105))
    liver = next(label for label in labels if label.name == "liver")
    assert liver.value == GOLDEN["totalsegmentator_105"].index("liver")
    assert liver.code is not None
    assert liver.code.value == "10200004"


def test_a_prediction_is_relabelled_for_a_downstream_data_set() -> None:
    index = {name: value for value, name in enumerate(class_names(105))}
    array = np.array([index[n] for n in ("liver", "kidney_left", "kidney_right", "brain", "background")], np.uint8)
    prediction = LabelMap(array=array.reshape(5, 1, 1), affine=np.eye(4), labels=labels_for(105))
    result = to_downstream(prediction, name="Task020_AbdomenCT1K")
    assert result.array.ravel().tolist() == [1, 2, 2, 0, 0]
    assert [(label.value, label.name) for label in result.labels] == [
        (1, "liver"),
        (2, "kidney"),
        (3, "spleen"),
        (4, "pancreas"),
    ]
    assert result.same_grid(prediction)


def test_wrong_requests_are_one_sentence() -> None:
    with pytest.raises(UsageError, match="no label mapping for 'Task999'"):
        downstream("Task999")
    other = LabelMap(array=np.ones((2, 2, 2), np.uint8), affine=np.eye(4), labels=labels_for(3))
    with pytest.raises(UsageError, match="no class 'liver'"):
        to_downstream(other, name="Task003_Liver")


def _verhoeff(digits: str) -> bool:
    """Whether the check digit of a SNOMED CT identifier is right (Verhoeff's dihedral scheme)."""
    step = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
    permutations = [list(range(10))]
    for _ in range(7):
        permutations.append([permutations[-1][step[n]] for n in range(10)])
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _dihedral(check, permutations[place % 8][int(digit)])
    return check == 0


def _dihedral(a: int, b: int) -> int:
    """The product of two of the ten symmetries of a pentagon: 0-4 turns, 5-9 reflections."""
    turn = (a + b) % 5 if a < 5 else (a - b) % 5
    return turn if (a < 5) == (b < 5) else turn + 5

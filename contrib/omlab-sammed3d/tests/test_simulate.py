from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from omlab.errors import GeometryError, UsageError
from omlab_prompts.prompts import Prompts
from omlab_sammed3d.model import TINY
from omlab_sammed3d.network import SamMed3d, untrained
from omlab_sammed3d.predictor import Predictor
from omlab_sammed3d.simulate import Rule, simulate
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import Label, LabelMap

VOLUMES, REFERENCES = example_volumes(), example_labelmaps()


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    network: SamMed3d = untrained(TINY).requires_grad_(False)
    return Predictor(network)


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("rule", ["ritm", "random"])
def test_replaying_the_clicks_gives_the_same_mask(predictor: Predictor, index: int, rule: str) -> None:
    volume = VOLUMES[index]
    found = simulate(predictor, volume, REFERENCES[index], clicks=3, rule=cast(Rule, rule), seed=4)
    again = predictor.predict(volume, Prompts.model_validate_json(found.prompts.model_dump_json()))
    labels = cast(LabelMap, found.prediction)
    np.testing.assert_array_equal(labels.array, again.array)
    assert labels.same_grid(volume)
    assert found.prompts.space == "ras"
    assert [(entry.name, len(entry.points)) for entry in found.prompts.objects] == [("organ", 3), ("bone", 3)]
    assert [label.name for label in labels.labels] == ["organ", "bone"]


def test_rows_have_the_dice_of_the_labels_after_each_round(predictor: Predictor) -> None:
    reference = REFERENCES[0]
    shorter, longer = (
        simulate(predictor, VOLUMES[0], reference, clicks=clicks, rule="ritm", seed=1) for clicks in (2, 3)
    )
    assert longer.scores.rows[: len(shorter.scores.rows)] == shorter.scores.rows
    assert [(row["object"], row["round"]) for row in shorter.scores.rows] == [
        (name, number) for number in (1, 2) for name in ("organ", "bone")
    ]
    labels = cast(LabelMap, shorter.prediction).array
    for value, row in enumerate(shorter.scores.rows[-2:], start=1):
        found, truth = labels == value, reference.array == value
        assert row["dice"] == pytest.approx(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def test_a_click_is_where_the_labels_before_it_were_wrong(predictor: Predictor) -> None:
    volume, reference = VOLUMES[1], REFERENCES[1]
    done = simulate(predictor, volume, reference, clicks=3, rule="random", seed=0)
    to_voxels = np.linalg.inv(volume.affine)
    for value, entry in enumerate(done.prompts.objects, start=1):
        for number, point in enumerate(entry.points):
            place = tuple(np.rint(to_voxels @ [*point.at, 1])[:3].astype(int))
            truth = reference.array[place] == value
            assert point.label == truth
            if number:
                before = simulate(predictor, volume, reference, clicks=number, rule="random", seed=0)
                assert (cast(LabelMap, before.prediction).array[place] == value) != truth
            else:
                assert truth


def test_another_seed_clicks_elsewhere(predictor: Predictor) -> None:
    runs = [simulate(predictor, VOLUMES[0], REFERENCES[0], clicks=1, rule="random", seed=n).prompts for n in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_labels_of_one_name_and_with_gaps_are_told_apart(predictor: Predictor) -> None:
    array = np.array([0, 3, 9], np.uint8)[REFERENCES[0].array]
    labels = [Label(value=3, name="kidney"), Label(value=9, name="kidney"), Label(value=12, name="absent")]
    reference = replace(REFERENCES[0], array=array, labels=labels)
    found = simulate(predictor, VOLUMES[0], reference, clicks=1, rule="ritm", seed=0)
    assert [row["object"] for row in found.scores.rows] == ["kidney (3)", "kidney (9)"]


def test_what_cannot_be_clicked_on_is_one_sentence(predictor: Predictor) -> None:
    volume, reference = VOLUMES[0], REFERENCES[0]
    with pytest.raises(UsageError, match="At least one click must be simulated, not 0"):
        simulate(predictor, volume, reference, clicks=0, rule="ritm", seed=0)
    empty = replace(reference, array=np.zeros_like(reference.array))
    with pytest.raises(UsageError, match="nothing to click on"):
        simulate(predictor, volume, empty, clicks=1, rule="ritm", seed=0)
    with pytest.raises(GeometryError, match="not on the grid of the volume"):
        simulate(predictor, volume, REFERENCES[1], clicks=1, rule="ritm", seed=0)

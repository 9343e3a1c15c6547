"""A task comes back from its configuration, and outputs become the values that labels have."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from omlab_volume.inference.preprocess import Plan
from omlab_volume.inference.task import Task, by_output, with_values
from omlab_volume.volume import Label, LabelMap

PLAN = Plan(spacing=(3.0, 1.5, 1.5), patch_size=(32, 64, 64))
LABELS = (Label(value=7, name="liver"), Label(value=300, name="spleen", colour=(1, 2, 3)))


@dataclass(frozen=True, kw_only=True)
class Other(Task):
    more: int = 0


@pytest.mark.parametrize("kind", [Task, Other])
def test_a_task_comes_back_from_json(kind):
    task = kind(plan=PLAN, labels=LABELS, mirror_axes=(0, 1))
    again = kind.from_config(json.loads(json.dumps(task.to_config())))
    assert type(again) is kind
    assert again == task
    with pytest.raises(KeyError):
        kind.from_config({"plan": PLAN.to_dict()})


def test_outputs_become_the_values_of_labels():
    outputs = by_output(LABELS)
    assert [label.value for label in outputs] == [1, 2]
    assert [label.name for label in outputs] == ["liver", "spleen"]
    array = np.array([0, 1, 2, 2], np.uint8).reshape(1, 2, 2)
    found = with_values(LabelMap(array=array, affine=np.eye(4), labels=outputs, facts={"a": 1}), LABELS)
    assert found.array.ravel().tolist() == [0, 7, 300, 300]
    assert found.labels == LABELS
    assert found.facts == {"a": 1}
    assert found.array.dtype == np.uint16
    same = LabelMap(array=array, affine=np.eye(4), labels=outputs)
    assert with_values(same, outputs) is same

"""What networks give, as payloads."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from omlab.errors import TrainingError
from omlab.roles import About
from omlab_image import Image
from omlab_image.answers import Task, class_names, classes_of, label_map_of, outputs_of


def test_one_right_class_and_several() -> None:
    logits = torch.tensor([0.0, 2.0, -1.0])
    one = classes_of(logits, names=("a", "b", "c"), threshold=None)
    assert sum(one.probabilities) == pytest.approx(1)
    assert one.predicted == ("b",)
    several = classes_of(logits, names=("a", "b", "c"), threshold=0.5)
    assert several.probabilities[0] == pytest.approx(0.5)
    assert several.predicted == ("a", "b")


def test_a_label_map_lies_on_its_image_and_holds_its_values() -> None:
    image = Image(array=np.zeros((2, 3), dtype=np.uint8), spacing=(0.2, 0.1))
    best = np.array([[0, 1, 2], [2, 0, 0]])
    found = label_map_of(best, values=(7, 300), names=("nodule", "cyst"), image=image)
    assert found.array.tolist() == [[0, 7, 300], [300, 0, 0]]
    assert found.names == {7: "nodule", 300: "cyst"}
    assert found.spacing == image.spacing


def test_a_task_tells_the_classes_of_a_data_set_and_comes_back_from_json() -> None:
    about = About(inputs={"image": "image"}, classes={4: "late", 1: "early"})
    task = Task.of(about, multi_label=False)
    assert task == Task(classes=("early", "late"))
    each = Task.of(about, multi_label=True)
    assert each.threshold == 0.5
    assert Task.from_config(json.loads(json.dumps(each.to_config()))) == each


def test_a_single_class_is_for_several_right_ones_alone() -> None:
    about = About(inputs={"image": "image"}, classes={1: "cyst"})
    assert class_names(about, multi_label=True) == ("cyst",)
    with pytest.raises(TrainingError, match="names 1 classes"):
        class_names(about)


def test_outputs_are_those_of_an_evaluated_network_on_the_cpu() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Dropout(0.9)).double().train()
    batch = [torch.randn(3, 2, 2, dtype=torch.float64) for _ in range(4)]
    found = outputs_of(network, batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, network.eval()(torch.stack(batch)).float())
    assert not network.training
    assert torch.equal(outputs_of(network, batch, by=lambda x: x.flatten(1)), torch.stack(batch).flatten(1).float())

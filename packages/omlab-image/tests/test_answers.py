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
    best = torch.tensor([[0, 1, 2], [2, 0, 0]])
    scores = nn.functional.one_hot(best, 3).permute(2, 0, 1).float()
    found = label_map_of(scores, values=(7, 300), names=("nodule", "cyst"), image=image, softmax=False)
    assert found.array.tolist() == [[0, 7, 300], [300, 0, 0]]
    assert found.names == {7: "nodule", 300: "cyst"}
    assert found.spacing == image.spacing


@pytest.mark.parametrize("softmax", [True, False])
def test_a_label_map_tells_how_sure_it_is_of_what_is_there(softmax: bool) -> None:
    share = torch.zeros(12, 12)
    share[3:9, 3:9], share[4:8, 4:8] = 0.6, 0.9
    shares = torch.stack([1 - share, share, torch.zeros(12, 12)]).clamp(min=1e-9)
    image = Image(array=np.zeros((12, 12), dtype=np.uint8))
    scores = shares.log() if softmax else 3 * shares  # shares need not add up to 1
    found = label_map_of(scores, values=(7, 8), names=("nodule", "cyst"), image=image, softmax=softmax)
    assert found.tells()["structures"].keys() == {"nodule"}
    nodule = found.tells()["structures"]["nodule"]
    assert nodule["pixels"] == 36
    assert nodule["surface_margin"] == pytest.approx(0.2, abs=1e-4)
    assert nodule["margin"] == pytest.approx((16 * 0.8 + 20 * 0.2) / 36, abs=1e-4)
    assert nodule["surface_entropy"] > nodule["entropy"] > 0


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

"""What the models of packages derive from: a classifier of images, and images that it is not given."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from omlab.errors import InputError
from omlab_image import Image
from omlab_image.answers import Task
from omlab_image.model import ImageModel, finite_image


@dataclass(frozen=True, kw_only=True)
class MaskTask(Task):
    values: tuple[int, ...] = ()


def test_a_network_tells_the_classes_of_its_task():
    network = nn.Linear(3, 3, bias=False)
    network.weight.data = torch.eye(3)
    model = ImageModel(network, task=Task(classes=("a", "b", "c")), name="toy", device="cpu", settings={"size": 1})
    assert (model.device, model.settings, model.module.training) == ("cpu", {"size": 1}, False)
    first, second = model.predict([torch.tensor([0.0, 5.0, 1.0]), torch.tensor([2.0, 0.0, 1.0])])
    assert (first.predicted, second.predicted) == (("b",), ("a",))


def test_tasks_with_more_to_tell_are_json_and_back():
    task = MaskTask(classes=("a",), values=(3,), threshold=0.5)
    assert task.to_config() == {"classes": ["a"], "values": [3], "threshold": 0.5}
    assert MaskTask.from_config({**task.to_config(), "other": 1}) == task
    with pytest.raises(KeyError, match="values"):
        MaskTask.from_config(Task().to_config())


def test_an_image_with_pixels_that_are_no_numbers_is_refused():
    image = Image(array=np.full((4, 4), np.nan, np.float32))
    with pytest.raises(InputError, match="pixels that are NaN or infinite"):
        finite_image({"image": image})

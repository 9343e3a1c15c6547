"""What networks give, as payloads."""

import numpy as np
import pytest
import torch

from omlab_image import Image
from omlab_image.answers import classes_of, label_map_of


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

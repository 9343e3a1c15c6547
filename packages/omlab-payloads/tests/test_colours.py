"""Whether the colours of classes can be told apart, also by people who do not see red and green as others do."""

from itertools import combinations

import numpy as np
import pytest

from omlab_payloads.colours import COLOURS, default_colour

ANY_TWO, NEIGHBOURS = 0.05, 0.11
"""Distances in Oklab; a difference that is just seen is about 0.02."""
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
"""What is seen of linear RGB (Machado, Oliveira and Fernandes 2009, severity 1)."""
_TO_LMS = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
_TO_LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def seen(colour, vision):
    """A colour as Oklab coordinates of what is seen of it."""
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.cbrt(np.clip(np.array(VISION[vision]) @ linear, 0, 1) @ np.transpose(_TO_LMS)) @ np.transpose(_TO_LAB)


def distance(a, b, vision):
    return float(np.linalg.norm(seen(a, vision) - seen(b, vision)))


@pytest.mark.parametrize("vision", VISION)
def test_no_two_colours_look_alike(vision):
    assert min(distance(a, b, vision) for a, b in combinations(COLOURS, 2)) > ANY_TWO


@pytest.mark.parametrize("vision", VISION)
def test_neighbours_by_label_differ_clearly_round_the_whole_table(vision):
    pairs = [(value, value + step) for value in range(1, 120) for step in (1, 2, 3)]
    near = {pair: distance(*map(default_colour, pair), vision) for pair in pairs}
    assert min(near.values()) > NEIGHBOURS, min(near, key=near.get)


def test_they_stand_out_from_grey_tissue_and_from_the_white_reference():
    for colour in COLOURS:
        light, *rest = seen(colour, "full")
        assert light > 0.45
        assert np.hypot(*rest) > 0.08


def test_the_measure_knows_what_is_confused():
    red, green = (200, 60, 40), (110, 120, 30)
    assert distance(red, green, "deuteranopia") < ANY_TWO < NEIGHBOURS < distance(red, green, "full")

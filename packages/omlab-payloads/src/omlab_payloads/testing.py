"""Example payloads for the test kit: small and computed, the same each time; the n-th of each kind are of one case."""

from __future__ import annotations

import math

from omlab_payloads.boxes import Box, Boxes
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_payloads.points import Point, Points
from omlab_payloads.scores import Scores

_CASES = 3


def example_embeddings() -> list[Embedding]:
    """Three vectors of 16 features."""
    return [_embedding([math.sin(7 * case + n) for n in range(16)]) for case in range(_CASES)]


def odd_embeddings() -> dict[str, Embedding]:
    """Vectors of NaN, of zeros, of one feature, and of huge numbers."""
    return {
        "nan": _embedding([math.nan] * 16),
        "zeros": _embedding([0.0] * 16),
        "one-feature": _embedding([0.5]),
        "huge-values": _embedding([1e30] * 16),
    }


def example_classes() -> list[Classes]:
    """Three cases of three classes, of which one is right."""
    return [
        Classes(names=("normal", "pneumonia", "effusion"), probabilities=[*_turned([0.7, 0.2, 0.1], case)])
        for case in range(_CASES)
    ]


def odd_classes() -> dict[str, Classes]:
    """Several right at once, none, one class alone, a name that a spreadsheet would run, NaN, prediction sets."""
    return {
        "several": Classes(names=("a", "b", "c"), probabilities=(0.9, 0.8, 0.1), threshold=0.5),
        "none": Classes(names=("a", "b"), probabilities=(0.1, 0.2), threshold=0.5),
        "one-class": Classes(names=("only",), probabilities=(1.0,)),
        "formula": Classes(names=("=1+1", '-, a "quoted" one'), probabilities=(0.4, 0.6)),
        "nan": Classes(names=("a", "b"), probabilities=(math.nan, math.nan)),
        "set": Classes(names=("a", "b"), probabilities=(0.7, 0.3), set_level=0.2, set_coverage=0.9),
        "set-of-several": Classes(
            names=("a", "b"), probabilities=(0.1, 0.2), threshold=0.5, set_level=1.0, set_coverage=0.9
        ),
    }


def example_scores() -> list[Scores]:
    """Three cases of two numbers, one with a unit."""
    return [
        Scores(values={"ejection fraction": 55.5 + case, "risk": 0.25 * case}, units={"ejection fraction": "%"})
        for case in range(_CASES)
    ]


def odd_scores() -> dict[str, Scores]:
    """One number, negative and huge ones, NaN."""
    return {
        "one": Scores(values={"score": 1.0}),
        "huge-values": Scores(values={"log likelihood": -1e300, "tiny": 1e-300}),
        "nan": Scores(values={"score": math.nan, "other": math.inf}),
    }


def example_boxes() -> list[Boxes]:
    """A box in mm in each of three cases, and another one that is less sure."""
    sure = [Box(near=(case, 1, 2), far=(case + 4.5, 6, 7), label="nodule", score=0.9) for case in range(_CASES)]
    other = Box(near=(-9.5, -8, -7), far=(-5, -4, -3), label="nodule", score=0.3)
    return [Boxes(space="world", boxes=(box, other)) for box in sure]


def odd_boxes() -> dict[str, Boxes]:
    """None at all, one of one pixel, one without a label and score, one around a crowd."""
    return {
        "crowd": Boxes(space="pixel", boxes=(Box(near=(0, 0), far=(9, 9), label="polyp", crowd=True),)),
        "none": Boxes(space="voxel"),
        "one-pixel": Boxes(space="pixel", boxes=(Box(near=(-0.5, -0.5), far=(0.5, 0.5), label="dot", score=1.0),)),
        "unnamed": Boxes(space="voxel", boxes=(Box(near=(0, 0, 0), far=(1, 1, 1)),)),
    }


def example_points() -> list[Points]:
    """Two landmarks in mm in each of three cases."""
    return [
        Points(
            space="world",
            points=(Point(name="carina", at=(case, 2.5, 3), score=0.8), Point(name="apex", at=(-4, case, 6))),
        )
        for case in range(_CASES)
    ]


def odd_points() -> dict[str, Points]:
    """None at all, one name twice, one of an image."""
    twice = Point(name="lesion", at=(1, 2, 3))
    return {
        "none": Points(space="world"),
        "twice": Points(space="voxel", points=(twice, twice)),
        "image": Points(space="pixel", points=(Point(name="fovea", at=(10.5, 20.25)),)),
    }


def _embedding(vector: list[float]) -> Embedding:
    return Embedding(vector=vector, model="example")  # type: ignore[arg-type]  # made an array


def _turned(values: list[float], by: int) -> list[float]:
    return values[-by % len(values) :] + values[: -by % len(values)]

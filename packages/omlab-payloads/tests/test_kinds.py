import contextlib
import copy
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import UsageError
from omlab.payloads import Checked, Framed, Payload, Sized
from omlab_payloads import testing
from omlab_payloads.boxes import Box, Boxes
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_payloads.points import Point, Points
from omlab_payloads.scores import Scores

EVERY = [
    payload
    for kind in ("embeddings", "classes", "scores", "boxes", "points")
    for payload in [
        *getattr(testing, f"example_{kind}")(),
        *getattr(testing, f"odd_{kind}")().values(),
    ]
]


def same(a, b):
    """Whether two payloads say the same; NaN equals NaN."""
    return type(a) is type(b) and json.dumps(a.to_value()) == json.dumps(b.to_value())


@pytest.mark.parametrize("payload", EVERY, ids=lambda payload: payload.kind)
def test_a_payload_says_what_core_asks_and_comes_back_from_json_and_copies(payload):
    assert isinstance(payload, Payload)
    assert isinstance(payload, Sized)
    assert isinstance(payload, Checked)
    assert payload.nbytes >= 0
    text = json.dumps(payload.to_value(), allow_nan=False)
    assert payload.is_finite() == ("nan" not in text and "inf" not in text)
    assert same(type(payload).from_value(json.loads(text)), payload)
    assert same(copy.deepcopy(payload), payload)  # as pickling for another process does


def test_importing_is_cheap():
    probe = "import omlab_payloads.plugin, omlab_payloads.kinds, sys; print(*set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    assert not {"numpy", "torch", "safetensors", "pyarrow", "pydantic", "rich"} & set(done.stdout.split())


def test_the_examples_of_a_case_belong_together():
    counts = {
        len(getattr(testing, f"example_{kind}")()) for kind in ("embeddings", "classes", "scores", "boxes", "points")
    }
    assert counts == {3}


def test_one_class_or_each_by_itself_is_predicted():
    names, numbers = ("a", "b", "c"), (0.2, 0.5, 0.3)
    assert Classes(names=names, probabilities=numbers).predicted == ("b",)
    assert Classes(names=names, probabilities=numbers, threshold=0.3).predicted == ("b", "c")
    assert Classes(names=names, probabilities=numbers, threshold=0.9).predicted == ()
    assert Classes(names=names, probabilities=numbers, threshold=0.3).present() == {1: "b", 2: "c"}
    assert Classes(names=names, probabilities=(math.nan, 0.1, 0.2)).predicted == ("c",)


def test_classes_are_said_in_a_line():
    names, probabilities = ["a", "b", "c", "d"], [0.1, 0.6, math.nan, 0.25]
    assert Classes(names=names, probabilities=probabilities).in_words() == "b 0.600, d 0.250, a 0.100, and 1 more"
    assert Classes(names=["a", "b"], probabilities=[0.7, 0.6], threshold=0.5).in_words() == "a and b (a 0.700, b 0.600)"
    assert Classes(names=["a"], probabilities=[0.2], threshold=0.5).in_words() == "none (a 0.200)"


def test_a_prediction_set_holds_what_reaches_its_level():
    names, numbers = ("a", "b", "c"), (0.2, 0.5, 0.3)
    assert Classes(names=names, probabilities=numbers).prediction_set is None
    assert Classes(names=names, probabilities=numbers, set_level=0.3, set_coverage=0.9).prediction_set == ("b", "c")
    assert Classes(names=names, probabilities=numbers, set_level=0.0, set_coverage=0.9).prediction_set == names
    high = {"set_level": 0.8, "set_coverage": 0.5}
    assert Classes(names=names, probabilities=numbers, **high).prediction_set == ("b",)  # one of them is right
    assert Classes(names=names, probabilities=numbers, threshold=0.4, **high).prediction_set == ()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"set_level": 0.5}, "one of both is missing"), ({"set_level": 2, "set_coverage": 0.9}, "'the set level' is 2")],
)
def test_a_prediction_set_needs_a_level_and_a_coverage(wrong, message):
    with pytest.raises(UsageError, match=message):
        Classes(names=("a",), probabilities=(1.0,), **wrong)


def test_numbers_may_come_from_numpy():
    found = Classes(names=["a", "b"], probabilities=np.array([0.25, 0.75], np.float32))
    assert found.probabilities == (0.25, 0.75)
    assert type(found.probabilities[0]) is float
    assert Embedding(vector=np.arange(3)).vector.dtype == np.float32
    assert not Embedding(vector=np.array([1e300])).is_finite()


class Grid:
    def __init__(self, *shape):
        self.shape = shape
        self.affine = np.eye(4)


@pytest.mark.parametrize(
    ("found", "other", "fits"),
    [
        (Boxes(space="voxel", boxes=[Box(near=(-0.5, 0, 0), far=(9.5, 1, 1))]), Grid(10, 2, 2), True),
        (Boxes(space="voxel", boxes=[Box(near=(0, 0, 0), far=(9.6, 1, 1))]), Grid(10, 2, 2), False),
        (Boxes(space="world", boxes=[Box(near=(-99, 0, 0), far=(99, 1, 1))]), Grid(10, 2, 2), True),
        (Boxes(space="world"), object(), False),
        (Boxes(space="voxel"), Boxes(space="world"), False),
        (Points(space="pixel", points=[Point(name="a", at=(19, 9))]), Grid(10, 20), True),
        (Points(space="pixel", points=[Point(name="a", at=(9, 19))]), Grid(10, 20), False),
    ],
)
def test_positions_must_lie_in_the_space_of_the_input(found, other, fits):
    assert isinstance(found, Framed)
    assert found.same_frame(other) is fits


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Embedding(vector=np.zeros((2, 2))), r"not the shape \(2, 2\)"),
        (lambda: Embedding(vector=[]), "at least one entry"),
        (lambda: Classes(names=("a", "b"), probabilities=(0.1,)), "2 names .* 1 probabilities"),
        (lambda: Classes(names=("a", "a"), probabilities=(0.1, 0.2)), "1 different"),
        (lambda: Classes(names=("a",), probabilities=(1.2,)), "'a' is 1.2"),
        (lambda: Classes(names=("a",), probabilities=(1,), threshold=-1), "threshold"),
        (lambda: Scores(values={}), "at least one number"),
        (lambda: Scores(values={"a": 1}, units={"b": "mL"}), "unit of 'b'"),
        (lambda: Scores(values={"a": 1}, units={"a": "m[L]"}), "bracket"),
        (lambda: Boxes(space="mm"), "pixel, voxel, world, not 'mm'"),
        (lambda: Boxes(space="pixel", boxes=[Box(near=(0, 0, 0), far=(1, 1, 1))]), "box 1 has 3 numbers"),
        (lambda: Boxes(space="pixel", boxes=[Box(near=(0, 2), far=(1, 1))]), "near corner"),
        (lambda: Points(space="voxel", points=[Point(name="apex", at=(1, 2))]), "'apex' has 2 numbers"),
    ],
)
def test_a_payload_that_cannot_be_is_one_sentence(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (Embedding, 5, "must have vector, not be 5"),
        (Embedding, {"vector": "abc"}, "'vector' must be a list, not \"abc\""),
        (Embedding, {"vector": [1, None]}, "'vector' must be a number, not null"),
        (Embedding, {"vector": [1], "modle": ""}, "unknown 'modle'; known are vector, model"),
        (Embedding, {"vector": [10**400]}, "must be a number"),
        (Classes, {"names": ["a"]}, "has no 'probabilities'; it has names"),
        (Classes, {"probabilities": {"a": True}}, "'a' must be a number, not true"),
        (Classes, {"probabilities": [1]}, "values by name"),
        (Scores, {"values": {"a": 1}, "units": {"a": 5}}, "'a' must be a text, not 5"),
        (Boxes, {"space": "voxel", "boxes": [{"near": [0, 0, 0]}]}, "Box 1 has no 'far'"),
        (Boxes, {"space": [], "boxes": []}, "space must be"),
        (Boxes, {"space": "pixel", "boxes": [{"near": [0, 0], "far": [1, 1], "crowd": 1}]}, "'crowd' must be true"),
        (Points, {"space": "voxel", "points": [[1, 2, 3]]}, "Point 1 must have name and at"),
    ],
)
def test_json_that_is_no_payload_is_told_without_a_traceback(kind, value, words):
    with pytest.raises(UsageError, match=words):
        kind.from_value(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["vector", "space", "boxes", "points", "near", "far", "name", "at", "values"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from([Embedding, Classes, Scores, Boxes, Points]), value=JSON)
def test_any_json_is_a_payload_or_an_error_of_ours(kind, value):
    with contextlib.suppress(UsageError):
        assert kind.from_value(value).kind == kind.kind

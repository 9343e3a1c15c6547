"""`parity.py` looks at every expectation of its files, and names what it does not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CHECK = load_file(TESTS / "parity.py").check
EXPECTED = {
    "rope": {"new_theta", "inv_freq", "attention_factor"},
    "chat": {"length", "trained", "ids_head", "ids_tail", "label_spans"},
    "gptq": {"hessian_diag", "scale", "zero", "group_of_column", "codes", "weight", "error", "rtn"},
}


def read(name):
    return json.loads((TESTS / "golden" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_another_expectation_is_noticed(name):
    whole = read(name)
    for one in whole["cases"]:
        assert check_notices(CHECK, whole | {"cases": [one]}, expected=EXPECTED[name])


def test_a_case_that_is_not_known_is_named():
    with pytest.raises(KeyError, match="longrope"):
        CHECK({"cases": [{"kind": "longrope"}]})


def test_an_expectation_that_is_not_known_is_named():
    whole = read("rope")
    with pytest.raises(KeyError, match="wavelength"):
        CHECK({"cases": [whole["cases"][0] | {"wavelength": 1}]})

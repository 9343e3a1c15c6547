"""Settings are checked and converted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.card_schema import BaseCard
from omlab.errors import SettingsError
from omlab.settings import complete, parse_pairs


def card(**settings):
    facts = {"name": "x", "summary": "Some card.", "entry": "a:b", "licence": "CC0", "settings": settings}
    return BaseCard.model_validate(facts)


CARD = card(
    step={"type": "float", "default": 0.5, "help": "A step.", "minimum": 0.1, "maximum": 1},
    rounds={"type": "int", "default": 3, "help": "Rounds."},
    mirror={"type": "bool", "default": True, "help": "Mirror."},
    variant={"type": "str", "default": "v1", "choices": ["v1", "v2"], "help": "Variant."},
    patch={"type": "list", "default": [], "help": "Patch."},
)


def test_defaults_fill_what_is_not_given():
    defaults = {"step": 0.5, "rounds": 3, "mirror": True, "variant": "v1", "patch": []}
    assert complete(CARD.settings, {}, of="'x'") == defaults


def test_text_becomes_the_declared_type():
    given_text = {"step": "0.25", "rounds": "7", "mirror": "no", "variant": "v2", "patch": "8,16,1.5"}
    expected = {"step": 0.25, "rounds": 7, "mirror": False, "variant": "v2", "patch": [8, 16, 1.5]}
    assert complete(CARD.settings, given_text, of="'x'") == expected


def test_one_number_is_a_list_of_one_as_text_and_from_python():
    for given_value in ("0.5", 0.5):
        assert complete(CARD.settings, {"patch": given_value}, of="'x'")["patch"] == [0.5]


@settings(deadline=None)
@given(st.integers(), st.booleans(), st.lists(st.integers() | st.floats(allow_nan=False)))
def test_python_values_pass_through(rounds, mirror, patch):
    done = complete(CARD.settings, {"rounds": rounds, "mirror": mirror, "patch": patch}, of="'x'")
    assert (done["rounds"], done["mirror"], done["patch"]) == (rounds, mirror, patch)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stpe": "1"}, "'x' has no setting 'stpe': did you mean 'step'"),
        ({"step": "much"}, "must be a number"),
        ({"step": "2"}, "at most 1"),
        ({"step": "0"}, "at least 0.1"),
        ({"rounds": "1.5"}, "whole number"),
        ({"rounds": True}, "whole number"),
        ({"mirror": "perhaps"}, "true or false"),
        ({"variant": "v3"}, "one of v1, v2"),
        ({"patch": None}, "a list"),
        ({"patch": True}, "a list"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(wrong, message):
    with pytest.raises(SettingsError, match=message):
        complete(CARD.settings, wrong, of="'x'")


def test_pairs_need_an_equals_sign():
    assert parse_pairs(["a=1", "b = x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(SettingsError, match="name=value"):
        parse_pairs(["a"])

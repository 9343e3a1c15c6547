"""Cards are validated in full, with sentences that name the field."""

import copy
import tomllib
from pathlib import Path

import pytest

from omlab.card_schema import CARD_MODELS, json_schema, validate
from omlab.cards import KINDS, Card, cards_in, read_cards
from omlab.errors import CardError

CARDS = tomllib.loads((Path(__file__).parent / "toy" / "cards.toml").read_text())


def card(kind, **changes):
    data = dict(copy.deepcopy(cards_in(CARDS, kind, source="toy/cards.toml")[0].data)) | changes
    data = {key: value for key, value in data.items() if value is not None}
    return Card(kind=kind, name=data["name"], summary=data["summary"], data=data, source="toy/cards.toml")


WEIGHTS = {"summary": "Some.", "licence": "CC0", "files": [{"name": "a.pth", "url": "https://x.example/a", "size": 3}]}


@pytest.mark.parametrize("kind", KINDS)
def test_the_toy_cards_are_complete(kind):
    assert validate(card(kind)).name == CARDS[kind][0]["name"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entry": "no colon"}, "entry"),
        ({"limits": None}, "limits is missing"),
        ({"colour": "red"}, "colour"),
        ({"default_weights": "best"}, "'best' is not among"),
        ({"name": "Bad Name"}, "name"),
        ({"weights": {"untrained": WEIGHTS}}, "not a tag"),
        ({"weights": {"a": WEIGHTS | {"files": []}}}, "give one of 'files'"),
        ({"weights": {"a": WEIGHTS | {"files": [{"name": "a", "url": "https://x.example/a"}]}}}, "size"),
        ({"weights": {"a": WEIGHTS | {"files": [WEIGHTS["files"][0] | {"url": "ftp://x"}]}}}, "url"),
        ({"weights": {"a": WEIGHTS | {"files": [WEIGHTS["files"][0] | {"sha256": "12"}]}}}, "sha256"),
    ],
)
def test_a_wrong_model_card_names_card_file_and_field(changes, message):
    with pytest.raises(CardError, match=message) as error:
        validate(card("model", **changes))
    assert "toy/cards.toml" in str(error.value)
    assert str(error.value)[-1] in ".?"


FILE = """\
[settings.mirror]
type = "bool"
default = true
help = "Whether it mirrors."

[[format]]
name = "mine"
summary = "A format."
entry = "m:F"
licence = "CC0"
suffixes = [".mine"]

[[model]]
name = "other"
summary = "A model."

[[model]]
name = "mine" # not the format
summary = "A model."
entry = "m:load"
licence = "CC0"
citation = "None."
intended_use = "Tests."
limits = "All."
settings = ["mirror"]

[model.does.predict]
takes = { signal = "signal" }
gives = "signal"

[model.weights.a]
summary = "Some."
licence = "CC0"

[[model.weights.a.files]]
name = "a.pth"
url = "https://x.example/a"
size = 3

[[model.weights.a.files]]
name = "b.pth"
url = "https://x.example/b"
size = 3
"""


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('limits = "All."', 'limit = "All."', "line 24: limit is no field, did you mean 'limits'?"),
        ('limits = "All."', "", "line 17: limits is missing."),
        ('gives = "signal"', 'give = "signal"', "line 29: does.predict.give is no field, did you mean 'gives'?"),
        ('gives = "signal"', "", "line 27: does.predict.gives is missing."),
        (
            'gives = "signal"',
            "gives = 3",
            "line 29: does.predict.gives is wrong: input should be a valid string, not",
        ),
        ('url = "https://x.example/b"', 'url = "b"', "line 42: weights.a.files.1.url is wrong: string should match"),
        ("default = true", "defaults = true", "line 3: settings.mirror.defaults is no field, did you mean 'default'?"),
        ('gives = "signal"', 'gives = "signal"\ngrid = "ct"', "line 27: does.predict is wrong: grid names 'ct', which"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(right, wrong, said, tmp_path, monkeypatch):
    package = f"told_{abs(hash((right, wrong)))}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / "cards.toml").write_text(FILE.replace(right, wrong))
    monkeypatch.syspath_prepend(tmp_path)
    (_, mine) = read_cards(package, "model")
    with pytest.raises(CardError) as error:
        validate(mine)
    assert f"model card 'mine' in {package}/cards.toml, {said}" in str(error.value)
    assert "; " not in str(error.value)  # one fault is told once


VERB = {"takes": {"signal": "signal", "note": "note?"}, "gives": "signal"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"does": {"predict": VERB | {"grid": "ct"}}}, "grid names 'ct', which is none of the inputs signal, note"),
        ({"does": {"predict": VERB | {"frame": "ct"}}}, "frame names 'ct'"),
        ({"does": {"predict": VERB | {"accepts": {"ct": ["plain"]}}}}, "accepts names 'ct'"),
        ({"does": {"predict": VERB | {"takes": {"note": "note?"}}}}, "at least one input must be required"),
        ({"does": {"predict": VERB | {"takes": {}}}}, "takes"),
        ({"does": {"predict": VERB | {"batch": 0}}}, "batch"),
        ({"does": {"prepare": VERB}}, "'prepare' is no verb"),
        ({"does": {"Predict": VERB}}, "does"),
        ({"does": {}, "trains": {}}, "at least one verb"),
        ({"weights": {"a": WEIGHTS | {"endpoint": "https://x.example"}}}, "give one of 'files'"),
        ({"weights": {"a": {"summary": "Some.", "licence": "CC0", "repository": "owner/name"}}}, "repository"),
        ({"trains": {"fit": {"target": "Signal"}}}, "trains.fit.target"),
    ],
)
def test_a_verb_that_makes_no_sense_is_told(changes, message):
    with pytest.raises(CardError, match=message):
        validate(card("model", **changes))


def test_an_option_is_no_input_and_no_setting():
    option = {"type": "int", "default": 1, "help": "Some option."}
    with pytest.raises(CardError, match="'note' is an input and an option: what differs by case is an input"):
        validate(card("model", does={"predict": VERB | {"options": {"note": option}}}))
    with pytest.raises(CardError, match="'offset' is a setting and an option of predict: call one of them otherwise"):
        validate(card("model", does={"predict": VERB | {"options": {"offset": option}}}))


SHARED = """
[settings.step]
type = "float"
default = 0.5
help = "The step."

[settings.mirror]
type = "bool"
default = true
help = "Mirror."

[[model]]
name = "small"
summary = "A small one."
settings = ["mirror", "step"]
[model.does.predict]
options = ["step"]
[model.trains.fit]
settings = ["mirror"]

[[model]]
name = "large"
summary = "A large one."
[model.settings.step]
type = "int"
default = 3
help = "Its own."
"""


def test_settings_are_shared_by_name():
    small, large = cards_in(tomllib.loads(SHARED), "model", source="cards.toml")
    shared = tomllib.loads(SHARED)["settings"]
    assert list(small.data["settings"]) == ["mirror", "step"]
    assert small.data["settings"]["step"] == shared["step"]
    assert small.data["does"]["predict"]["options"] == {"step": shared["step"]}
    assert small.data["trains"]["fit"]["settings"] == {"mirror": shared["mirror"]}
    assert large.data["settings"]["step"]["type"] == "int"


def test_a_shared_setting_that_is_not_there_is_named():
    document = tomllib.loads(SHARED.replace('["mirror"]', '["mirrr"]'))
    with pytest.raises(CardError, match=r"cards\.toml: model 'small' names the setting 'mirrr', but the file has no"):
        cards_in(document, "model", source="cards.toml")


def test_the_default_weights_come_first():
    tagged = card("model", weights={"a": WEIGHTS, "b": WEIGHTS}, default_weights="b")
    assert tagged.weights == ("b", "a")


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_a_json_schema(kind):
    schema = json_schema(kind)
    assert set(CARD_MODELS[kind].model_fields) == set(schema["properties"])

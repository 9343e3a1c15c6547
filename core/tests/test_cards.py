"""Cards are validated in full, with sentences that name the field."""

import copy
import tomllib
from pathlib import Path

import pytest

from omlab.card_schema import CARD_MODELS, json_schema, validate
from omlab.cards import KINDS, Card, cards_in
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
        ({"limits": None}, "limits: Field required"),
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
    assert str(error.value).endswith(".")


def test_the_default_weights_come_first():
    tagged = card("model", weights={"a": WEIGHTS, "b": WEIGHTS}, default_weights="b")
    assert tagged.weights == ("b", "a")


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_a_json_schema(kind):
    schema = json_schema(kind)
    assert set(CARD_MODELS[kind].model_fields) == set(schema["properties"])

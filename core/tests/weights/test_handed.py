"""What a model is handed, and how it comes from a card, a tag, and what the user gives instead."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 - as spawned workers do
from pathlib import Path
from typing import Any

import pytest
import torch

from omlab.card_schema import ModelCard
from omlab.errors import SettingsError, UnknownNameError, UsageError, WeightsError
from omlab.weights import Weights, resolve, save_state_dict, snapshot

from .making import card_data, model_card, network, same, sha256

STATE = dict(network().state_dict())


def file(path: Path, **rules: Any) -> dict[str, Any]:
    return {"name": path.name, "url": path.as_uri(), "approximate_size": 100, **rules}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A published file with a wrapper, a prefix, a head that is dropped and a buffer that is missing."""
    path = tmp_path / "published" / "first.pth"
    path.parent.mkdir()
    state = {f"module.{key}": value for key, value in STATE.items() if key != "1.bias"}
    torch.save({"net": {**state, "module.head.x": torch.tensor(float("nan"))}, "epoch": 3}, path)
    return path


@pytest.fixture
def card(published: Path) -> ModelCard:
    rules = {"wrapper": "net", "prefix": "module.", "dropped": ["head.*"], "missing": ["1.bias"]}
    return model_card(default="first", first={"files": [file(published, **rules)]})


def given(card: ModelCard, tag: str | None = None, **more: Any) -> Weights:
    found = resolve(card, tag, **more)
    assert found is not None
    return found


def test_published_weights_are_read_by_the_cards_rules(card: ModelCard, published: Path) -> None:
    weights = given(card)
    assert (weights.tag, dict(weights.files), weights.folder) == ("first", {"first.pth": published}, None)
    assert weights.sha256 == {"first.pth": sha256(published.read_bytes())}
    assert same(weights.state_dict(), {key: value for key, value in STATE.items() if key != "1.bias"})
    assert same(weights.state_dict("first.pth"), weights.state_dict())
    module = network()
    torch.nn.init.constant_(module[1].bias, 5.0)  # type: ignore[arg-type]
    weights.load(module)
    assert torch.equal(module.state_dict()["0.weight"], STATE["0.weight"])
    assert bool((module.state_dict()["1.bias"] == 5).all()), "what the card says is missing keeps its values"


def test_a_state_that_was_read_is_not_read_again(card: ModelCard, published: Path) -> None:
    weights, module = given(card), network()
    state = weights.state_dict()
    published.unlink()
    weights.load(module, state={key: value + 1 for key, value in state.items()})
    assert torch.equal(module.state_dict()["0.weight"], STATE["0.weight"] + 1)


def test_any_other_key_is_an_error_that_names_it(card: ModelCard, published: Path) -> None:
    for key in ("0.bias", "extra"):
        state = {f"module.{k}": v for k, v in {**STATE, "extra": torch.ones(1)}.items()}
        del state["module.0.bias" if key == "0.bias" else "module.0.weight"]
        if key == "0.bias":
            del state["module.extra"]
        torch.save({"net": state}, published)
        with pytest.raises(WeightsError, match=rf"first\.pth does not fit Sequential .*{key}"):
            given(card).load(network())


def test_tags_and_no_tag(card: ModelCard) -> None:
    assert given(card, "").tag == given(card, "first").tag == "first"
    assert resolve(card, "untrained") is None
    assert resolve(model_card(), None) is None
    with pytest.raises(UnknownNameError, match=r"no published weights 'firsd': did you mean 'first'\?"):
        resolve(card, "firsd")
    with pytest.raises(UnknownNameError, match="it offers none"):
        resolve(model_card(), "first")


@pytest.mark.parametrize("form", ["published", "unwrapped", "plain", "safetensors"])
def test_a_users_file_follows_the_rules_of_the_default_weights(
    card: ModelCard, published: Path, tmp_path: Path, form: str
) -> None:
    mine, plain = tmp_path / "mine.bin", {key: value for key, value in STATE.items() if key != "1.bias"}
    prefixed = {f"module.{key}": value for key, value in plain.items()}
    if form == "published":
        mine.write_bytes(published.read_bytes())
    elif form == "unwrapped":
        torch.save({**prefixed, "module.head.y": torch.ones(1)}, mine)
    elif form == "plain":
        torch.save({**plain, "head.y": torch.ones(1)}, mine)
    else:
        save_state_dict(plain, mine)
    weights = given(card, weights=mine)
    assert (weights.tag, dict(weights.files)) == ("local", {"mine.bin": mine})
    assert same(weights.state_dict(), plain)
    weights.load(network())


def test_whose_rules_a_users_file_follows(tmp_path: Path) -> None:
    tags = {tag: {"files": [file(tmp_path / f"{tag}.pth", wrapper=tag)]} for tag in ("one", "two")}
    torch.save({"one": {"a": torch.ones(1)}, "two": {"a": torch.zeros(1)}}, tmp_path / "two.pth")
    (tmp_path / "other.pth").write_bytes((tmp_path / "two.pth").read_bytes())
    for card, tag, name, value in (
        (model_card(default="one", **tags), None, "other.pth", 1),
        (model_card(default="one", **tags), None, "two.pth", 0),  # the card's own name for it
        (model_card(default="one", **tags), "one", "two.pth", 1),
        (model_card(default="one", **tags), "two", "other.pth", 0),
        (model_card(**tags), "untrained", "other.pth", 1),  # no default: the first
    ):
        assert given(card, tag, weights=tmp_path / name).state_dict()["a"].item() == value
    torch.save(STATE, tmp_path / "plain.pth")
    assert same(given(model_card(), weights=tmp_path / "plain.pth").state_dict(), STATE)


def test_weights_of_several_files(tmp_path: Path) -> None:
    names = ("encoder.pth", "decoder.pth")
    folder = tmp_path / "there"
    folder.mkdir()
    for number, name in enumerate(names):
        torch.save({f"{name}.": {"w": torch.tensor([number])}}, folder / name)
    card = model_card(default="both", both={"files": [file(folder / name, wrapper=f"{name}.") for name in names]})
    for weights in (given(card), given(card, weights=folder)):
        assert [weights.state_dict(name)["w"].item() for name in names] == [0, 1]
        assert weights.path("decoder.pth") == folder / "decoder.pth"
        with pytest.raises(WeightsError, match=r"several files: name one of encoder\.pth, decoder\.pth"):
            weights.state_dict()
        with pytest.raises(WeightsError, match=r"no file 'head\.pth': they have encoder\.pth"):
            weights.path("head.pth")
    assert (given(card).folder, given(card, weights=folder).folder) == (None, folder)
    with pytest.raises(WeightsError, match=r"weights of 2 files: name the folder of encoder\.pth, decoder\.pth"):
        resolve(card, weights=folder / "encoder.pth")
    (folder / "decoder.pth").unlink()
    with pytest.raises(WeightsError, match=r"no weights file .*decoder\.pth"):
        resolve(card, weights=folder)


def test_a_repository_is_handed_as_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "repo"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    save_state_dict(STATE, folder / "sub" / "model.bin")
    card = model_card(default="big", big={"repository": "hf://owner/repo@v1"})
    facts = {
        name: snapshot.Fact(size=1, sha256=letter * 64, time=0)
        for name, letter in (("config.json", "a"), ("sub/model.bin", "b"))
    }
    monkeypatch.setattr(
        snapshot, "fetch", lambda url, *, offline: snapshot.Snapshot(folder=folder, facts=facts, commit=url)
    )
    published = given(card)
    assert published.sha256 == {"config.json": "a" * 64, "sub/model.bin": "b" * 64}
    for weights in (published, given(card, weights=folder)):
        assert weights.folder == folder
        assert weights.path("config.json") == folder / "config.json"
        assert same(weights.state_dict(), STATE), "the only file that is a checkpoint"
        assert same(weights.state_dict("sub/model.bin"), STATE)
    with pytest.raises(WeightsError, match="has a repository for its weights: name the folder"):
        resolve(card, weights=folder / "config.json")
    (folder / "sub" / "model.bin").write_text("{}")
    with pytest.raises(WeightsError, match=r"No file of the weights 'local' in .*repo is a checkpoint"):
        given(card, weights=folder).state_dict()


def test_what_a_user_gives_is_checked_at_once(card: ModelCard, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    for path, word in (
        (tmp_path / "none", "There is no weights file"),
        (tmp_path / "pipe", "is a pipe"),
        (tmp_path, "is a folder; name the weights file inside it"),
        (tmp_path / "a\0b", "cannot be read"),
    ):
        with pytest.raises(WeightsError, match=word):
            resolve(card, weights=path)
    with pytest.raises(WeightsError, match="holds no file"):
        resolve(model_card(), weights=tmp_path / "empty")


def test_an_endpoint_has_facts_and_no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = {"endpoint": "https://chat.example.org/v1", "model_id": "big", "key_env": "CHAT_KEY"}
    card = model_card(default="remote", remote=facts)
    weights = given(card, offline=False)
    assert weights.endpoint is not None
    assert (weights.endpoint.url, weights.endpoint.model_id) == (facts["endpoint"], "big")
    monkeypatch.delenv("CHAT_KEY", raising=False)
    with pytest.raises(UsageError, match="set the environment variable CHAT_KEY"):
        weights.endpoint.key()
    monkeypatch.setenv("CHAT_KEY", " secret\n")
    assert weights.endpoint.key() == "secret"
    assert "secret" not in repr(weights)
    assert (dict(weights.files), weights.sha256) == ({}, {})
    with pytest.raises(WeightsError, match=r"answer at https://chat\.example\.org/v1: they have no files"):
        weights.state_dict()
    with pytest.raises(UsageError, match="it takes no --weights"):
        resolve(card, weights=tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="the network is off"):
        resolve(card, offline=True)
    monkeypatch.setenv("OMLAB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"'net\.remote' answers at .*, and the network is off"):
        resolve(card)


def test_a_plain_file_has_no_rules_and_weights_travel_to_other_processes(tmp_path: Path) -> None:
    save_state_dict(STATE, tmp_path / "weights.safetensors")
    weights = Weights.plain(tmp_path / "weights.safetensors", tag="adapted")
    assert same(pickle.loads(pickle.dumps(weights)).state_dict(), STATE)
    with pytest.raises(WeightsError, match="does not fit Sequential"):
        weights.load(torch.nn.Sequential(torch.nn.Linear(2, 2)))


class TestAddressesThatNameASetting:
    """One card for many networks: which one its files are of stands in a setting."""

    @pytest.fixture
    def many(self, tmp_path: Path) -> ModelCard:
        for name in ("small", "large.v2"):
            (tmp_path / name).mkdir()
            torch.save(STATE, tmp_path / name / "net.pth")
        entry = {"name": "net.pth", "url": f"{tmp_path.as_uri()}/{{size}}/net.pth", "approximate_size": 100}
        setting = {"type": "str", "default": "small", "help": "Which network"}
        card = card_data("net", default="hub", hub={"files": [entry]})
        return ModelCard.model_validate(card | {"settings": {"size": setting}})

    def test_the_value_says_which_file(self, many: ModelCard, tmp_path: Path) -> None:
        assert given(many).path() == tmp_path / "small" / "net.pth"
        assert given(many, settings={"size": "large.v2"}).path() == tmp_path / "large.v2" / "net.pth"

    @pytest.mark.parametrize("value", ["../secret", "a/b", "", "a b", "a..b"])
    def test_what_is_no_part_of_an_address_is_refused(self, many: ModelCard, value: str) -> None:
        with pytest.raises(SettingsError, match="cannot be the setting 'size'"):
            resolve(many, settings={"size": value})

    def test_a_name_that_is_no_setting_is_an_error_of_the_card(self, many: ModelCard) -> None:
        with pytest.raises(ValueError, match="names 'size', which is no setting of text"):
            ModelCard.model_validate(many.model_dump() | {"settings": {}})

"""Adapted models: folders that stand where a name does, with verbs, base and needs of their own."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import omlab
from omlab.adapted import read_description
from omlab.card_schema import ModelCard
from omlab.errors import (
    OmlabError,
    OutputError,
    PluginError,
    SettingsError,
    UnknownNameError,
    UsageError,
    WeightsError,
)
from omlab.jobs.adapt import verbs_of
from omlab.models import find_card
from omlab.run_folder import read_log

pytestmark = pytest.mark.usefixtures("here")


def adapt(model="adder.untrained", output="mine", adapter="shift", **more):
    return omlab.adapt(model, "ramps", adapter=adapter, output=output, **more)


def described(folder="mine"):
    return json.loads((Path(folder) / "adapted.json").read_text())


def predicted(model, signal, value=1.0, **more):
    return omlab.load_model(model, **more).predict(omlab.read(signal("x.sig", [value])))


def test_an_adapted_model_stands_where_a_name_does(signal):
    outcome = adapt()
    assert (outcome.exit_status, outcome.place) == (0, Path("mine").absolute())
    names = sorted(path.name for path in Path("mine").iterdir())
    assert names == ["adapted.json", "cases.jsonl", "history.json", "run.json", "weights.safetensors"]
    assert predicted("mine", signal).values == [6]
    assert omlab.predict("mine", signal("a.sig", [1]), output="out").exit_status == 0
    request = read_log(Path("out"))["request"]
    assert request["model"]["name"] == "mine"
    assert request["model"]["base"]["name"] == "adder.untrained"
    assert "untrained" not in " ".join(omlab.predict("mine", signal("a.sig", [1]), output="out").notes)


def test_it_says_what_it_was_made_of():
    adapt(seed=3, settings={"rounds": 5, "model.offset": 2})
    said = described()
    assert said["base"] == "adder.untrained"
    assert (said["adapter"], said["recipe"], said["seed"]) == ("shift", "fit", 3)
    assert said["recipe_settings"] == {"rounds": 5}
    assert said["adapter_settings"] == {"patience": 2.0}  # as the model's card advises
    assert said["settings"] == {"offset": 2.0}
    assert said["data"]["name"] == "ramps"
    assert said["config"]["began"] == 2.0  # from the survey of the data
    assert said["does"]["predict"]["grid"] == "signal"
    assert said["does"]["predict"]["expects"] == {"signal": {"most": 1000}, "result": {"most": 1000}}


def test_a_second_start_finds_it_done_and_another_request_is_refused():
    adapt()
    assert adapt().was_complete
    for change in ({"seed": 1}, {"settings": {"rounds": 4}}, {"settings": {"patience": 1}}, {"adapter": "mean-probe"}):
        with pytest.raises((OutputError, UsageError)):
            adapt(**change)
    with pytest.raises(OutputError, match="holds a run of another request"):
        adapt(seed=1)


def test_settings_are_the_adapters_then_the_recipes_and_can_be_qualified():
    adapt(settings={"adapter.patience": 3, "recipe.rounds": 2, "model.offset": 1})
    assert (described()["adapter_settings"], described()["recipe_settings"]) == ({"patience": 3.0}, {"rounds": 2})
    with pytest.raises(SettingsError, match="There is no setting 'patince' here: did you mean 'patience'"):
        adapt(output="x", settings={"patince": 1})
    with pytest.raises(SettingsError, match="there is no 'recip': did you mean 'recipe'"):
        adapt(output="x", settings={"recip.rounds": 1})


def test_an_adapter_may_give_verbs_of_its_own(signal):
    adapt("embedder.untrained", adapter="mean-probe", output="probe")
    assert described("probe")["recipe"] is None
    card = find_card("probe")
    assert {verb: facts.gives for verb, facts in card.does.items()} == {"predict": "note"}
    assert predicted("probe", signal, 5.0).text == "above"
    with pytest.raises(UsageError, match="'probe' has no verb 'embed': there are predict"):
        omlab.embed("probe", signal("a.sig", [1]))


def test_an_adapter_with_a_split_of_its_own_learns_from_that_alone(signal, monkeypatch):
    from omlab_toy.data import IDS

    monkeypatch.delitem(IDS, "train")
    with pytest.raises(UsageError, match="'ramps' has no split 'train': "):
        adapt("embedder.untrained", adapter="mean-probe", output="probe")
    adapt("embedder.untrained", adapter="mean-probe", output="probe", settings={"split": "test"})
    assert described("probe")["data"]["split"] == "test"
    assert predicted("probe", signal, 5.0).text == "above"


def test_a_verb_that_a_recipe_adds_keeps_the_grid_that_the_recipe_promises():
    does = {"embed": {"takes": {"image": "signal"}, "gives": "note", "grid": "image"}}
    common = {
        "name": "toy", "summary": "A toy.", "entry": "toy:load", "licence": "MIT", "intended_use": "Tests.",
        "limits": "All else.", "citation": "None.", "does": does,
    }  # fmt: skip

    def trained(**recipe):
        card = ModelCard.model_validate({**common, "trains": {"paint": {"gives": {"predict": "signal"}, **recipe}}})
        return verbs_of(card, "paint")["predict"]

    assert "grid" not in trained()
    assert trained(grid={"predict": "image"}) == {"takes": {"image": "signal"}, "gives": "signal", "grid": "image"}
    with pytest.raises(PluginError, match="grid of 'picture', which is no input; there are image"):
        trained(grid={"predict": "picture"})
    with pytest.raises(ValidationError, match="grid names the verb 'embed'"):
        trained(grid={"embed": "image"})


def test_an_adapted_model_can_be_adapted_again_and_takes_its_base_along(signal):
    adapt(output="one")
    adapt("one", output="two")
    adapt("two", output="three", seed=1)
    assert sorted(path.name for path in Path("three/base/base").iterdir() if path.suffix == ".json") == [
        "adapted.json",
        "history.json",
        "run.json",
    ]
    shutil.rmtree("one")
    shutil.rmtree("two")
    Path("three").rename("moved")
    assert predicted("moved", signal).values == [6]
    assert described("moved")["base_folder"] == "base"


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        ({"model": "addr"}, UnknownNameError, "did you mean 'adder'"),
        ({"adapter": "shft"}, UnknownNameError, "There is no adapter 'shft': did you mean 'shift'"),
        ({"recipe": "fitt"}, UsageError, "'adder.untrained' has no recipe 'fitt': did you mean 'fit'"),
        ({"model": "breaker"}, UsageError, "'breaker' has no recipes: it cannot be trained"),
        ({"adapter": "mean-probe"}, UsageError, "needs a model that does 'embed', but 'adder.untrained' does predict"),
        (
            {"model": "embedder", "adapter": "mean-probe", "recipe": "fit"},
            UsageError,
            "'embedder' has no recipe 'fit': it has none",
        ),
        ({"model": "adder.best"}, UnknownNameError, "no weights 'best'"),
        ({"mapped": {"sgnal": "ramp"}}, UsageError, "no input 'sgnal': did you mean 'signal'"),
        ({"output": 5}, UsageError, "The output must be a path"),
        ({"settings": 5}, UsageError, "The settings must be values by their names"),
        ({"model": None}, UsageError, "The model must be a name or a folder, not None"),
    ],
)
def test_an_adaptation_that_makes_no_sense_is_one_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence) as refusal:
        adapt(**{"output": "x"} | call)
    assert refusal.value.exit_status == 2
    assert not Path("x").exists()


def test_an_adapter_that_fails_says_where_and_leaves_nothing(monkeypatch):
    omlab.load_model("adder")
    adapt(output="first")

    def broken(*arguments, **more):
        raise KeyError("loss")

    monkeypatch.setattr(sys.modules["omlab_toy.adapters"].Shift, "fit", broken)
    with pytest.raises(OmlabError, match=r"unexpected KeyError: 'loss' \(test_adapted\.py, line \d+\)") as stop:
        adapt(output="x")
    assert stop.value.exit_status == 1
    assert not list(Path.cwd().glob("x*"))  # nor is what the survey found in the way of a better request
    monkeypatch.undo()
    assert adapt(output="x", settings={"rounds": 2}).exit_status == 0


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (lambda: Path("mine/weights.safetensors").unlink(), WeightsError, r"has no weights\.safetensors"),
        (lambda: Path("mine/adapted.json").write_text("{"), UsageError, "is not the description of an adapted model"),
        (lambda: Path("mine/adapted.json").write_text("[]"), UsageError, "is not the description"),
        (lambda: Path("mine/adapted.json").write_text('{"does": 5}'), UsageError, "is not the description"),
        (lambda: Path("mine/adapted.json").unlink(), UsageError, "is a folder, but not of an adapted model"),
    ],
)
def test_a_damaged_folder_says_what_is_wrong(damage, error, sentence):
    adapt()
    damage()
    with pytest.raises(error, match=sentence):
        omlab.load_model("mine")


def test_what_a_later_omlab_wrote_is_passed_over(signal):
    adapt()
    Path("mine/adapted.json").write_text(json.dumps({**described(), "colour": "red"}))
    assert predicted("mine", signal).values == [6]
    assert read_description(Path("mine")).adapter == "shift"


def test_weights_are_no_option_of_one_that_has_its_own(signal):
    adapt()
    with pytest.raises(UsageError, match="weights of its own: leave --weights out"):
        omlab.load_model("mine", weights="x.pth")


# -- the base's weights -------------------------------------------------------------------------------------------

WEIGHTY_CARDS = """
[[model]]
name = "weighty"
summary = "Adds the number in its weights."
entry = "weighty.plugin:load"
licence = "Apache-2.0"
citation = "none"
intended_use = "Tests."
limits = "Everything else."
default_weights = "published"
[model.does.predict]
takes = {{ signal = "signal" }}
gives = "signal"
[model.does.embed]
takes = {{ signal = "signal" }}
gives = "vector"
[model.trains.fit]
target = "signal"
[model.weights.published]
summary = "A number."
licence = "CC0-1.0"
files = [{{ name = "number.txt", url = "{url}", size = 1 }}]
"""
WEIGHTY = """
from omlab import hookimpl, read_cards
OMLAB_HOOK_API = 2
@hookimpl
def omlab_models():
    return read_cards(__package__, "model")

class Weighty:
    module = None
    def __init__(self, number): self.number = number
    def predict(self, batch, /):
        from omlab_toy.payloads import Signal
        return [Signal(v + self.number for v in case["signal"].values) for case in batch]
    def embed(self, batch, /):
        from omlab_toy.payloads import Vector
        return [Vector([v + self.number for v in case["signal"].values]) for case in batch]
    def layers(self): return []
    def retarget(self, recipe, about, *, settings, seed):
        other = Weighty(self.number)
        other.offset = self.number
        return other
    def recipe(self, recipe, data, *, settings, seed): return [case.load() for case in data.cases("train")]
    def config(self): return {}

def load(card, *, weights, needs, device, settings, config):
    if config is not None:
        return Weighty(config["offset"])
    return Weighty(int(weights.path().read_text()) if weights else 0)
"""


@pytest.fixture
def published(install, tmp_path):
    """The published weights of the model `weighty`; returns what publishes a number anew."""
    file = tmp_path / "number.txt"

    def publish(number):
        file.write_text(str(number))
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        return file

    publish(3)
    cards = WEIGHTY_CARDS.format(url=file.as_uri())
    files = {"weighty/__init__.py": "", "weighty/plugin.py": WEIGHTY, "weighty/cards.toml": cards}
    install("weighty", entry_points={"weighty": "weighty.plugin"}, files=files)
    return publish


def test_the_bases_weights_are_only_fetched_where_they_are_used(published, signal):
    adapt("weighty", output="whole")  # keeps all that it needs
    adapt("weighty", adapter="mean-probe", output="probe")  # keeps what it changed
    published(3).unlink()
    assert predicted("whole", signal).values == [6]
    assert find_card("probe").does["predict"].gives == "note"
    with pytest.raises(WeightsError, match=r"number\.txt"):
        predicted("probe", signal)


def test_a_base_with_other_weights_than_it_was_made_from_is_refused(published, signal):
    adapt("weighty", output="whole")
    adapt("weighty", adapter="mean-probe", output="probe")
    assert predicted("probe", signal, 5.0).text == "above"
    published(4)
    with pytest.raises(WeightsError, match=r"The weights of 'weighty\.published' are not those that the adapted model"):
        predicted("probe", signal)
    assert predicted("whole", signal).values == [6]  # in which nothing of the base's weights is left
    published(3)
    assert predicted("probe", signal, 5.0).text == "above"


def test_a_base_of_ones_own_file_is_known_by_its_content(published, signal, tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("7")
    adapt("weighty", adapter="mean-probe", output="probe", weights=own)
    assert described("probe")["base_weights"] == str(own)
    assert predicted("probe", signal, 5.0).text == "above"
    own.write_text("8")
    with pytest.raises(WeightsError, match="are not those that the adapted model"):
        predicted("probe", signal)
    own.unlink()
    with pytest.raises(WeightsError, match=r"own\.txt"):
        predicted("probe", signal)


def test_what_an_adapter_made_of_a_trainable_model_may_be_no_longer_trainable(published):
    adapt("weighty", adapter="mean-probe", output="probe")
    with pytest.raises(OmlabError, match="'probe' was adapted in a way that cannot be trained further"):
        adapt("probe", output="x")
    assert not Path("x").exists()

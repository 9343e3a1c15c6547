"""From a name to a session: needs, identity, untrained weights."""

import os
import subprocess
import sys

import pytest

import omlab
from omlab.errors import PluginError, SettingsError, UnknownNameError, UsageError, WeightsError
from omlab.models import find_model

pytestmark = pytest.mark.usefixtures("here")


def moved(signal, **more):
    session = omlab.load_model("mover.untrained", **more)
    return session.register(fixed=omlab.read(signal("f.sig", [5])), moving=omlab.read(signal("m.sig", [1])))


def test_a_need_is_loaded_and_handed_over(signal):
    result = moved(signal)
    assert (result.moved.values, result.by) == ([2], 4)


def test_a_need_can_be_another_model_or_an_adapted_one(signal):
    omlab.adapt("adder.untrained", "ramps", adapter="shift", output="mine")
    assert moved(signal, needs={"helper": "mine"}).moved.values == [6]
    assert moved(signal, needs={"helper": "adder.untrained"}).moved.values == [2]
    fixed, moving = signal("f.sig", [5]), signal("m.sig", [1])
    named = {"fixed": fixed, "moving": moving}
    omlab.apply_verb("register", "mover.untrained", named=named, needs={"helper": "mine"}, output="out")
    assert omlab.read("out/f.moved.sig.txt").values == [6]


def test_needs_are_part_of_the_identity():
    omlab.adapt("adder.untrained", "ramps", adapter="shift", output="mine")
    plain, other = find_model("mover.untrained"), find_model("mover.untrained", needs={"helper": "mine"})
    assert plain.identity()["needs"]["helper"]["name"] == "adder.untrained"
    assert other.identity()["needs"]["helper"]["name"] == "mine"
    assert plain.identity() != other.identity()


def test_settings_of_a_need_are_said_with_its_name_and_are_part_of_the_identity(signal):
    assert moved(signal, settings={"helper.offset": 5}).moved.values == [6]
    told = find_model("mover.untrained", settings={"helper.offset": 5})
    assert told.identity() != find_model("mover.untrained").identity()
    assert find_model("mover.untrained", settings=told.all_settings).identity() == told.identity()
    with pytest.raises(SettingsError, match="did you mean 'offset'"):
        moved(signal, settings={"helper.ofset": 5})


@pytest.mark.parametrize(
    ("needs", "error", "sentence"),
    [
        ({"helpr": "adder"}, UsageError, "'mover' has no need 'helpr': did you mean 'helper'"),
        ({"helper": "addr"}, UnknownNameError, "did you mean 'adder'"),
        ({"helper": None}, UsageError, "must be a name or a folder, not None"),
        ("helper=adder", UsageError, "The needs must be values by their names"),
    ],
)
def test_a_need_that_makes_no_sense_is_one_sentence(needs, error, sentence):
    with pytest.raises(error, match=sentence):
        omlab.load_model("mover.untrained", needs=needs)


def test_a_need_that_may_be_left_out_is_handed_over_only_where_it_is_named(install):
    text = (
        "from omlab import Card, hookimpl\nOMLAB_HOOK_API = 2\nfacts = dict(summary='May have more.', "
        "entry='may_plugin:load', licence='CC0', citation='none', intended_use='Tests.', limits='All.', "
        "needs={'encoder': 'far-away?'}, does={'predict': {'takes': {'signal': 'signal'}, 'gives': 'signal'}})\n"
        "class Model:\n    def __init__(self, needs):\n        self.needs = needs\n"
        "def load(card, *, weights, needs, device, settings, config):\n    return Model(needs)\n"
        "@hookimpl\ndef omlab_models():\n"
        "    return [Card(kind='model', name='may', summary='May have more.', data={'name': 'may', **facts})]\n"
    )
    install("may", entry_points={"may": "may_plugin"}, files={"may_plugin.py": text})
    assert omlab.load_model("may.untrained").model.needs == {}
    given = omlab.load_model("may.untrained", needs={"encoder": "adder.untrained"})
    assert given.model.needs["encoder"].name == "adder.untrained"
    assert given.identity["needs"]["encoder"]["name"] == "adder.untrained"


def test_a_need_that_is_not_installed_says_what_to_do(install):
    text = (
        "from omlab import Card, hookimpl\nOMLAB_HOOK_API = 2\nfacts = dict(summary='Needs much.', entry='a:b', "
        "licence='CC0', citation='none', intended_use='Tests.', limits='All.', needs={'encoder': 'far-away'}, "
        "does={'embed': {'takes': {'signal': 'signal'}, 'gives': 'vector'}})\n"
        "@hookimpl\ndef omlab_models():\n"
        "    return [Card(kind='model', name='needy', summary='Needs much.', data={'name': 'needy', **facts})]\n"
    )
    install("needy", entry_points={"needy": "needy_plugin"}, files={"needy_plugin.py": text})
    with pytest.raises(PluginError, match=r"needs the model 'far-away' as its encoder, .* --need encoder=MODEL"):
        omlab.load_model("needy")


def test_published_weights_that_cannot_be_had_offline_are_one_sentence():
    with pytest.raises(WeightsError, match=r"mover\.pth"):
        omlab.load_model("mover", offline=True)


def test_an_identity_is_what_it_takes_to_have_the_model_again():
    said = find_model("adder", settings={"offset": 4}).identity()
    assert said["name"] == "adder.untrained"
    assert said["settings"] == {"offset": 4}
    assert said["packages"]["omlab-toy"] == "1.0"
    assert said["weights"] == {"tag": "untrained", "sha256": None}
    assert said == find_model("adder", settings={"offset": "4"}).identity()
    assert said != find_model("adder", settings={"offset": 5}).identity()


def test_a_setting_that_changes_no_result_is_no_part_of_it(install):
    text = (
        "from omlab import Card, hookimpl\nOMLAB_HOOK_API = 2\n"
        "setting = lambda **more: dict(type='int', default=1, help='Some setting.', **more)\n"
        "facts = dict(summary='Waits.', entry='a:b', licence='CC0', citation='none', intended_use='Tests.', "
        "limits='All.', does={'embed': {'takes': {'signal': 'signal'}, 'gives': 'vector'}}, "
        "settings={'patience': setting(affects_result=False), 'step': setting()})\n"
        "@hookimpl\ndef omlab_models():\n"
        "    return [Card(kind='model', name='waiter', summary='Waits.', data={'name': 'waiter', **facts})]\n"
    )
    install("waiter", entry_points={"waiter": "waiter_plugin"}, files={"waiter_plugin.py": text})
    one, other = (find_model("waiter", settings={"patience": patience}).identity() for patience in (1, 2))
    assert one == other
    assert one["settings"] == {"step": 1}


DRAWN = """
from omlab import Card, hookimpl
OMLAB_HOOK_API = 2
FACTS = dict(name="drawn", summary="Random numbers.", entry="drawn_plugin:load", licence="CC0", citation="none",
             intended_use="Tests.", limits="All.", does={"embed": {"takes": {"signal": "signal"}, "gives": "vector"}})

@hookimpl
def omlab_models():
    return [Card(kind="model", name="drawn", summary="Random numbers.", data=FACTS)]

class Drawn:
    def __init__(self, numbers): self.numbers = numbers

def load(card, *, weights, needs, device, settings, config):
    import torch
    return Drawn(torch.rand(3).tolist())
"""


@pytest.fixture
def drawn(install):
    return install("drawn", entry_points={"drawn": "drawn_plugin"}, files={"drawn_plugin.py": DRAWN})


def test_untrained_networks_are_drawn_from_one_seed_and_leave_the_users_draws_alone(drawn):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = omlab.load_model("drawn", device="cpu").model.numbers
    assert torch.rand(1) == expected
    assert omlab.load_model("drawn", device="cpu").model.numbers == first


def test_nor_does_it_matter_whether_torch_was_imported_before(drawn):
    code = (
        "import sys, omlab\nload = lambda: omlab.load_model('drawn', device='cpu').model.numbers\n"
        "assert 'torch' not in sys.modules\nfirst = load()\n"
        "assert 'torch' in sys.modules and load() == first\nprint(first)"
    )
    environment = {**os.environ, "PYTHONPATH": str(drawn), "OMLAB_PLUGINS": "drawn"}
    environment.pop("OMLAB_PLUGINS_OFF", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(omlab.load_model("drawn", device="cpu").model.numbers)


def test_settings_that_say_which_weights_are_checked_before_those_are_looked_for(install):
    text = """
from omlab import Card, hookimpl
from omlab.errors import SettingsError

OMLAB_HOOK_API = 2
FACTS = dict(
    name="many", summary="Any network.", entry="many_plugin:load", licence="CC0", citation="none", limits="All.",
    intended_use="Tests.", does={"embed": {"takes": {"signal": "signal"}, "gives": "vector"}}, default_weights="hub",
    check="many_plugin:check",
    settings={"model": {"type": "str", "default": "net", "help": "Which one"}},
    weights={"hub": dict(summary="All.", licence="CC0", repository="hf://many/{model}@main")},
)

@hookimpl
def omlab_models():
    return [Card(kind="model", name="many", summary=FACTS["summary"], data=FACTS)]

def check(settings, *, weights):
    if settings["model"] != "net":
        raise SettingsError(f"There is no network '{settings['model']}' ({weights}).")
"""
    install("many", entry_points={"many": "many_plugin"}, files={"many_plugin.py": text})
    with pytest.raises(SettingsError, match=r"no network 'nit' \(hub\)"):
        find_model("many", settings={"model": "nit"}, offline=True)
    with pytest.raises(SettingsError, match=r"no network 'nit' \(untrained\)"):
        find_model("many.untrained", settings={"model": "nit"})
    with pytest.raises(WeightsError, match="hf://many/net@main is not in the cache"):
        find_model("many", offline=True)

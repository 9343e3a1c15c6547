"""Broken, incompatible, duplicate and switched-off plugins harm nothing else."""

import logging
from importlib.metadata import PathDistribution

import pytest

from omlab.cards import Card, read_cards
from omlab.errors import CardError, DuplicateNameError, PluginError, UnknownNameError
from omlab.plugins import installed
from omlab.registry import load_entry, registry

GOOD = "from dataclasses import replace\nfrom omlab import Card, hookimpl\nOMLAB_HOOK_API = 2\n"
ONE_MODEL = (
    GOOD
    + "@hookimpl\ndef omlab_models():\n    return [Card(kind='model', name='{name}', summary='A model.', data={{}})]\n"
)


def add(install, name, text):
    install(
        name,
        entry_points={name: f"{name.replace('-', '_')}_plugin"},
        files={f"{name.replace('-', '_')}_plugin.py": text},
    )


def statuses():
    return {plugin.name: (plugin.status, plugin.reason) for plugin in installed() if plugin.status != "off"}


def test_a_plugin_that_cannot_be_imported_is_listed_with_the_reason(install):
    add(install, "good", ONE_MODEL.format(name="fine"))
    add(install, "bad", "import a_package_that_is_not_there\n")
    assert [card.name for card in registry().cards("model")] == ["fine"]
    status, reason = statuses()["bad"]
    assert status == "broken"
    assert reason.endswith("No module named 'a_package_that_is_not_there' (bad_plugin.py, line 1)")


def test_a_name_that_is_unknown_may_be_one_of_a_plugin_that_is_set_aside(install):
    add(install, "good", ONE_MODEL.format(name="fine"))
    add(install, "bad", GOOD + "@hookimpl\ndef omlab_models():\n    return 1 / 0\n")
    with pytest.raises(UnknownNameError, match=r"no model 'best' \(not loaded: bad; see omlab doctor\)"):
        registry().get("model", "best")
    assert statuses()["bad"][1].endswith("division by zero (bad_plugin.py, line 6)")


def test_what_a_distribution_says_of_itself_is_parsed_once(install, monkeypatch):
    parsed = []
    told = PathDistribution.metadata.fget
    monkeypatch.setattr(PathDistribution, "metadata", property(lambda dist: parsed.append(dist) or told(dist)))
    add(install, "good", ONE_MODEL.format(name="fine"))
    assert [(card.name, card.distribution) for card in registry().cards("model")] == [("fine", "good")]
    assert [plugin.version for plugin in installed() if plugin.name == "good"] == ["1.0"]
    assert len(parsed) == len(set(map(id, parsed))) == len(list(installed()))


def test_a_plugin_that_exits_at_import_does_not_end_the_program(install):
    add(install, "bad", "raise SystemExit(3)\n")
    assert statuses()["bad"][0] == "broken"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its module has no OMLAB_HOOK_API, and this omlab has 2: update other"),
        ("OMLAB_HOOK_API = 1\n", "it is built for hook API 1, and this omlab has 2: update other"),
        ("OMLAB_HOOK_API = 9\n", "it is built for hook API 9, and this omlab has 2: update omlab-core"),
    ],
)
def test_another_hook_api_is_incompatible(install, text, said):
    add(install, "other", text)
    assert statuses()["other"] == ("incompatible", said)


def test_a_hook_with_wrong_arguments_is_broken(install):
    add(install, "wrong", GOOD + "@hookimpl\ndef omlab_models(surprise):\n    return []\n")
    status, reason = statuses()["wrong"]
    assert status == "broken"
    assert "surprise" in reason


def test_an_unknown_hook_is_broken(install):
    add(install, "wrong", GOOD + "@hookimpl\ndef omlab_modells():\n    return []\n")
    status, reason = statuses()["wrong"]
    assert status == "broken"
    assert "there is no hook 'omlab_modells', did you mean 'omlab_models'" in reason


def test_a_hook_of_a_later_omlab_may_be_implemented_where_it_says_that_it_is_optional(install):
    add(
        install,
        "early",
        ONE_MODEL.format(name="a") + "@hookimpl(optionalhook=True)\ndef omlab_dreams():\n    return []\n",
    )
    assert statuses()["early"][0] == "ok"


def test_a_plugin_whose_hook_raises_is_put_aside(install):
    add(install, "good", ONE_MODEL.format(name="fine"))
    add(install, "bad", GOOD + "@hookimpl\ndef omlab_models():\n    raise RuntimeError('no')\n")
    assert [card.name for card in registry().cards("model")] == ["fine"]
    assert statuses()["bad"] == ("broken", "omlab_models failed: RuntimeError: no (bad_plugin.py, line 6)")


def test_a_hook_that_returns_something_else_is_put_aside(install):
    add(install, "bad", GOOD + "@hookimpl\ndef omlab_models():\n    return ['stunet']\n")
    assert registry().cards("model") == []
    assert "must return model cards" in statuses()["bad"][1]


@pytest.mark.parametrize("end", ["sys.exit(3)", "raise SystemExit", "print('noise'); raise ValueError('no')"])
def test_a_hook_that_exits_or_prints_neither_ends_nor_pollutes_the_program(install, capsys, end):
    add(install, "bad", GOOD + f"import sys\n@hookimpl\ndef omlab_models():\n    {end}\n")
    add(install, "good", ONE_MODEL.format(name="fine"))
    assert [card.name for card in registry().cards("model")] == ["fine"]
    assert statuses()["bad"][0] == "broken"
    out, err = capsys.readouterr()
    assert out == ""
    assert ("noise" in err) == ("noise" in end)


def test_a_plugin_that_prints_at_import_does_not_pollute_the_output(install, capsys):
    add(install, "loud", "print('hello')\n" + ONE_MODEL.format(name="fine"))
    assert [card.name for card in registry().cards("model")] == ["fine"]
    assert capsys.readouterr() == ("", "hello\n")


def test_an_implementation_may_have_a_name_of_its_own(install):
    card = "Card(kind='model', name='{0}', summary='A model.', data={{}})"
    one = "@hookimpl(specname='omlab_models')\ndef {0}():\n    return [" + card + "]\n"
    text = GOOD + one.format("small") + one.format("large")
    add(install, "two", text)
    assert [card.name for card in registry().cards("model")] == ["large", "small"]
    assert {card.distribution for card in registry().cards("model")} == {"two"}


def test_plugins_are_called_in_pluggys_order(install):
    for name, options in (("a", "trylast=True"), ("b", ""), ("c", "tryfirst=True"), ("d", "")):
        add(install, name, GOOD + f"@hookimpl({options})\ndef omlab_run_started(run):\n    run.append('{name}')\n")
    order = []
    assert installed().tell("omlab_run_started", run=order) == []
    assert order == ["c", "d", "b", "a"]  # the last registered first


WRAPPER = """
@hookimpl(wrapper=True)
def omlab_models():
    answers = yield
    {body}
"""


@pytest.mark.parametrize(
    ("body", "names", "status"),
    [
        ("return [[replace(c, name=c.name + '-x') for c in cards] for cards in answers]", ["a-x", "b-x"], "ok"),
        ("return [*answers, [Card(kind='model', name='c', summary='C.', data={})]]", ["a", "b", "c"], "ok"),
        ("raise RuntimeError('no')", ["a", "b"], "broken"),
        ("return ['a']", ["a", "b"], "broken"),
        ("return None", ["a", "b"], "broken"),
        ("yield", ["a", "b"], "broken"),
    ],
)
def test_a_wrapper_sees_what_all_plugins_gave(install, body, names, status):
    add(install, "one", ONE_MODEL.format(name="a"))
    add(install, "two", ONE_MODEL.format(name="b"))
    add(install, "wrapper", GOOD + WRAPPER.format(body=body))
    cards = registry().cards("model")
    assert [card.name for card in cards] == names
    assert [card.distribution for card in cards] == ["one", "two", "wrapper"][: len(names)]
    assert statuses()["wrapper"][0] == status


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("@hookimpl(hookwrapper=True)\ndef omlab_models():\n    yield\n", "wrapper=True"),
        ("@hookimpl(wrapper=True)\ndef omlab_models():\n    return []\n", "generator"),
    ],
)
def test_a_wrapper_of_another_form_is_broken(install, text, word):
    add(install, "wrong", GOOD + text)
    status, reason = statuses()["wrong"]
    assert status == "broken"
    assert word in reason


def test_an_object_can_be_a_plugin(install):
    text = GOOD + (
        "class Offer:\n    OMLAB_HOOK_API = 2\n    @hookimpl\n    def omlab_models(self):\n"
        "        return [Card(kind='model', name='fine', summary='F.', data={})]\noffer = Offer()\n"
    )
    install("thing", entry_points={"thing": "thing_plugin:offer"}, files={"thing_plugin.py": text})
    assert [card.name for card in registry().cards("model")] == ["fine"]


def test_an_observer_that_fails_is_not_put_aside(install):
    add(install, "bad", GOOD + "@hookimpl\ndef omlab_run_started(run):\n    raise SystemExit(run)\n")
    for _ in range(2):
        assert installed().tell("omlab_run_started", run="stop") == [
            ("bad", "SystemExit: stop (bad_plugin.py, line 6)")
        ]
    assert statuses()["bad"] == ("ok", "")


def test_a_hook_may_ask_another_one(install):
    asks = "@hookimpl\ndef omlab_commands(cli):\n    from omlab.registry import registry\n"
    add(install, "asks", GOOD + asks + "    cli += registry().cards('model')\n    raise ValueError('after')\n")
    add(install, "bad", GOOD + "@hookimpl\ndef omlab_models():\n    raise RuntimeError('no')\n")
    installed().ask("omlab_commands", cli=[])
    assert statuses() == {
        "asks": ("broken", "omlab_commands failed: ValueError: after (asks_plugin.py, line 8)"),
        "bad": ("broken", "omlab_models failed: RuntimeError: no (bad_plugin.py, line 6)"),
    }


def test_a_duplicate_name_is_an_error_that_names_both_and_hides_nothing_else(install):
    add(install, "first", ONE_MODEL.format(name="same"))
    add(install, "second", ONE_MODEL.format(name="same"))
    add(install, "third", ONE_MODEL.format(name="other"))
    with pytest.raises(DuplicateNameError, match="first and second"):
        registry().get("model", "same")
    assert registry().get("model", "other").distribution == "third"
    assert registry().duplicates("model") == {"same": ["first", "second"]}


def test_two_plugins_of_one_entry_point_name_name_the_other(install):
    install("one", entry_points={"clash": "one_plugin"}, files={"one_plugin.py": ONE_MODEL.format(name="a")})
    install("two", entry_points={"clash": "two_plugin"}, files={"two_plugin.py": ONE_MODEL.format(name="b")})
    broken = [plugin for plugin in installed() if plugin.status == "broken"]
    assert len(broken) == 1
    assert "one" in broken[0].reason


def test_an_unknown_name_gets_did_you_mean(install):
    add(install, "good", ONE_MODEL.format(name="stunet-base"))
    with pytest.raises(UnknownNameError, match="did you mean 'stunet-base'"):
        registry().get("model", "stunet-bsae")


def test_an_unknown_name_far_from_all_lists_what_there_is(install):
    add(install, "good", ONE_MODEL.format(name="stunet-base"))
    with pytest.raises(UnknownNameError, match="there are stunet-base"):
        registry().get("model", "zzzz")


def test_plugins_can_be_chosen_and_switched_off(install, monkeypatch):
    add(install, "first", ONE_MODEL.format(name="a"))
    add(install, "second", ONE_MODEL.format(name="b"))
    monkeypatch.setenv("OMLAB_PLUGINS", "second")
    installed.cache_clear()
    assert installed().names() == ["second"]
    monkeypatch.setenv("OMLAB_PLUGINS", "nobody")
    installed.cache_clear()
    with pytest.raises(PluginError, match="nobody"):
        installed()


def test_cards_are_read_from_toml(toy):
    names = [card.name for card in registry().cards("model")]
    assert names == ["adder", "breaker", "careful", "embedder", "mover", "teller"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not there"),
        ("[[model]\n", "not valid TOML"),
        ("[[modle]]\n", "'modle'"),
        ("[model]\nname = 'a'\n", r"write \[\[model\]\]"),
        ("[[model]]\nname = 'a'\n", "no 'summary'"),
    ],
)
def test_a_wrong_cards_file_says_what_is_wrong(site, text, message):
    (site / "holder").mkdir()
    (site / "holder" / "__init__.py").write_text("")
    if text is not None:
        (site / "holder" / "cards.toml").write_text(text)
    with pytest.raises(CardError, match=message):
        read_cards("holder", "model")


def test_an_entry_that_is_not_there_says_so(toy):
    card = Card(kind="model", name="x", summary="x", data={})
    with pytest.raises(CardError, match="has no 'nothing'"):
        load_entry(card, "omlab_toy.models:nothing")
    with pytest.raises(CardError, match="does not exist"):
        load_entry(card, "omlab_toi.models:load")


def test_what_torch_logs_of_torchao_is_left_out_and_nothing_else(toy, caplog):
    load_entry(Card(kind="model", name="x", summary="x", data={}), "omlab_toy.models:load_adder")
    log = logging.getLogger("torch.utils._pytree")
    log.warning("%s is an Enum subclass. Calling register_constant() on Enum subclasses is deprecated.", "Preference")
    log.warning("There is less memory than expected.")
    assert caplog.messages == ["There is less memory than expected."]

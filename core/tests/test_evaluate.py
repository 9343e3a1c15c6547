"""Evaluation: which evaluator, which verb, whose results; resumed as every run is."""

import json
from pathlib import Path

import pytest

import omlab
from omlab.card_schema import EvaluatorCard
from omlab.errors import InputError, OmlabError, SettingsError, UnknownNameError, UsageError
from omlab.jobs.evaluate import choose_verb
from omlab.models import find_card
from omlab.run_folder import read_log

pytestmark = pytest.mark.usefixtures("here")


def test_the_evaluator_is_found_by_the_task_and_the_verb_by_the_kind():
    outcome = omlab.evaluate("adder", "ramps", output="board")
    assert outcome.report.metrics[0].value == 4
    log = read_log(Path("board"))
    assert (log["request"]["evaluator"]["name"], log["request"]["verb"]) == ("error", "predict")
    assert log["arguments"]["model"] == "adder.untrained"
    stored = json.loads(Path("board/report.json").read_text())
    assert stored["metrics"][0]["value"] == 4
    assert {"c.txt", "d.txt", "report.html", "run.json"} <= {path.name for path in Path("board").iterdir()}
    again = omlab.evaluate("adder", "ramps", output="board")
    assert (again.was_complete, again.report.metrics) == (True, outcome.report.metrics)


def test_what_random_weights_give_is_said_to_mean_nothing():
    sentence = ["The weights of 'adder.untrained' are untrained: drawn at random, so that what it gives means nothing."]
    for _ in range(2):  # again where it is complete
        assert omlab.evaluate("adder", "ramps", output="board").notes == sentence
    omlab.predict("adder", data="ramps", output="out")
    assert omlab.evaluate(None, "ramps", predictions="out", output="of-a-run").notes == sentence
    omlab.adapt("adder.untrained", "ramps", adapter="shift", output="mine")
    assert omlab.evaluate("mine", "ramps", output="of-an-adapted-model").notes == []


def test_a_report_that_is_gone_is_made_again_without_judging_again():
    omlab.evaluate("adder", "ramps", output="board")
    picture = Path("board/c.txt").stat().st_mtime_ns
    Path("board/report.json").unlink()
    assert omlab.evaluate("adder", "ramps", output="board").report.metrics[0].value == 4
    assert Path("board/c.txt").stat().st_mtime_ns == picture


def test_results_of_a_run_are_judged_under_the_models_name():
    omlab.adapt("adder.untrained", "ramps", adapter="shift", output="mine")
    omlab.predict("mine", data="ramps", output="out")
    outcome = omlab.evaluate(None, "ramps", predictions="out", output="board")
    assert outcome.report.metrics[0].value == 0
    log = read_log(Path("board"))
    assert log["arguments"]["model"] == "mine"
    assert log["request"]["model"]["name"] == "mine"
    assert json.loads(Path("board/history.json").read_text()) == [{"epoch": 1, "loss": 0.5}]


def test_a_file_of_one_result_is_no_file_of_many():
    Path("one.sig").write_text("signal\n1\n")
    with pytest.raises(InputError, match=r"one\.sig holds one result: name the folder of a run, or a file of many"):
        omlab.evaluate(None, "ramps", predictions="one.sig", output="board")


def test_files_of_another_program_are_judged_without_a_model():
    omlab.load_dataset("ramps").prepare()
    Path("theirs").mkdir()
    Path("history.json").write_text('[{"loss": 1}]')  # of something else that was done here
    for id in "cd":
        Path(f"theirs/{id}.sig").write_text(Path(f"omlab-data/ramps/{id}.sig").read_text())
    Path("theirs/readme.txt").write_text("no result")
    outcome = omlab.evaluate(None, "ramps", predictions="theirs", output="board")
    assert outcome.report.metrics
    request = read_log(Path("board"))["request"]
    assert request["model"] is None
    assert len(request["predictions"]) == 64
    assert not Path("board/history.json").exists()
    Path("theirs/d.sig").unlink()
    failed = omlab.evaluate(None, "ramps", predictions="theirs", output="other")
    assert failed.exit_status == 1
    assert "theirs has no file for the case 'd': name each file by its case, as c.sig is" in failed.failed[0].reason


def test_options_of_the_verb_are_given_with_the_settings():
    plain, twice = (
        omlab.evaluate("adder", "ramps", output=name, settings=settings).report.metrics[0].value
        for name, settings in (("plain", {}), ("twice", {"options.times": 5}))
    )
    assert (plain, twice) == (4, 0)
    assert read_log(Path("twice"))["request"]["options"] == {"times": 5}
    with pytest.raises(SettingsError, match="'predict' of 'adder' has no setting 'time': did you mean 'times'"):
        omlab.evaluate("adder", "ramps", settings={"options.time": 5})
    with pytest.raises(UsageError, match=r"options.times is a verb's, but no model is asked here\.$"):
        omlab.evaluate(None, "ramps", predictions="twice", settings={"options.times": 5})


def test_results_that_changed_are_another_request():
    omlab.predict("adder", data="ramps", output="out")
    omlab.evaluate(None, "ramps", predictions="out", output="board")
    assert omlab.evaluate(None, "ramps", predictions="out", output="board").was_complete
    Path("omlab-data/ramps/c.sig").write_text("signal\n1\n1\n1\n1")
    omlab.predict("adder", data="ramps", output="out")
    with pytest.raises(OmlabError, match="another request"):
        omlab.evaluate(None, "ramps", predictions="out", output="board")


def test_an_evaluator_judges_the_further_kinds_of_its_card():
    card = EvaluatorCard(
        name="overlap", summary="Overlap.", entry="a.b:c", licence="CC0", task="segmentation",
        judges="labelmap", target="labelmap", also={"masks": "labelmap-clip"},
    )  # fmt: skip
    narrowed = card.against("labelmap-clip")
    assert narrowed is not None
    assert (narrowed.judges, narrowed.target) == ("masks", "labelmap-clip")
    assert card.against("labelmap").judges == "labelmap"
    assert card.against("boxes") is None


def test_of_several_kinds_against_the_same_targets_the_first_that_a_model_gives_is_judged():
    card = EvaluatorCard(
        name="exam", summary="Exam.", entry="a.b:c", licence="CC0", task="exam",
        judges="likelihoods", target="options", also={"signal": "options", "vector": "signal"},
    ).against("options")  # fmt: skip
    adder = find_card("adder")
    assert (card.judges, card.also) == ("likelihoods", {"signal": "options"})
    assert choose_verb(adder, card, None, name="adder") == "predict"
    with pytest.raises(UsageError, match="judges likelihoods or signal, but 'embed' of 'adder' gives nothing"):
        choose_verb(adder, card, "embed", name="adder")


def test_collected_results_are_judged_by_their_ids(install):
    text = (
        "from omlab import Card, Metric, Report, hookimpl\nOMLAB_HOOK_API = 2\n"
        "facts = dict(summary='Lengths.', entry='lengths_plugin:load', licence='CC0', task='regression', "
        "judges='vector', target='signal')\n"
        "@hookimpl\ndef omlab_evaluators():\n"
        "    return [Card(kind='evaluator', name='lengths', summary='Lengths.', data={'name': 'lengths', **facts})]\n"
        "class Lengths:\n    def measure(self, sample, result, folder):\n"
        "        return [{'gap': abs(result.values[1] - len(sample.target.values))}]\n"
        "    def report(self, rows, folder):\n"
        "        return Report(metrics=[Metric(name='gap', value=max(r['gap'] for c in rows.values() for r in c))])\n"
        "def load(card, *, settings):\n    return Lengths()\n"
    )
    install("lengths", entry_points={"lengths": "lengths_plugin"}, files={"lengths_plugin.py": text})
    omlab.embed("embedder", data="ramps", output="vectors")
    outcome = omlab.evaluate(None, "ramps", predictions="vectors", evaluator="lengths", output="board")
    assert outcome.report.metrics[0].value == 0
    with pytest.raises(UsageError, match=r"several evaluators are there: name one with --evaluator \(error, lengths\)"):
        omlab.evaluate("adder", "ramps")
    direct = omlab.evaluate("embedder", "ramps", evaluator="lengths", output="direct")
    assert read_log(direct.place)["request"]["verb"] == "embed"


def test_a_case_without_a_result_fails_alone():
    omlab.load_dataset("ramps").prepare()
    omlab.predict("adder", "omlab-data/ramps/c.sig", output="out")
    outcome = omlab.evaluate(None, "ramps", predictions="out", output="board")
    assert outcome.exit_status == 1
    assert "has no result for the case 'd'" in outcome.failed[0].reason


def test_where_no_case_can_be_judged_there_is_no_report():
    omlab.load_dataset("ramps").prepare()
    for id in "cd":
        Path(f"omlab-data/ramps/{id}.sig").write_text("prose")
    with pytest.raises(OmlabError, match=r"No case could be judged: .*c\.sig is not a signal") as stop:
        omlab.evaluate("adder", "ramps", output="board")
    assert stop.value.exit_status == 1
    assert not Path("board").exists()
    for id in "cd":
        Path(f"omlab-data/ramps/{id}.sig").write_text("signal\n1")
    assert omlab.evaluate("adder", "ramps", output="board").report.metrics[0].value == 4


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        ({"model": None}, UsageError, "either a model or a folder"),
        ({"predictions": "."}, UsageError, "either a model or a folder"),
        ({"split": "val"}, UsageError, "'ramps' has no split 'val': there are test, train"),
        ({"split": None}, UsageError, "The split must be a name"),
        ({"data": "rams"}, UnknownNameError, "did you mean 'ramps'"),
        ({"data": None}, UsageError, "The data set must be a name"),
        ({"evaluator": "eror"}, UnknownNameError, "did you mean 'error'"),
        ({"verb": "predikt"}, UsageError, "'error' judges signal, but 'predikt' of 'adder' gives nothing"),
        ({"model": "embedder"}, UsageError, "'error' judges signal, but 'embedder' gives vector"),
        ({"model": None, "predictions": "."}, InputError, "is not the folder of a finished run"),
        ({"model": None, "predictions": 5}, UsageError, "The predictions must be a path"),
        ({"settings": {"x": 1}}, SettingsError, "There is no setting 'x' here: there are none"),
        ({"settings": {"model.ofset": 1}}, SettingsError, "did you mean 'offset'"),
        ({"settings": 5}, UsageError, "The settings must be values by their names"),
    ],
)
def test_an_evaluation_that_makes_no_sense_is_one_sentence(call, error, sentence):
    arguments = {"model": "adder", "data": "ramps", "output": "board"} | call
    with pytest.raises(error, match=sentence) as refusal:
        omlab.evaluate(arguments.pop("model"), arguments.pop("data"), **arguments)
    assert refusal.value.exit_status == 2
    assert not Path("board").exists()


def test_a_page_gets_what_the_model_looked_at_for_the_cases_that_it_shows(install):
    text = (
        "from omlab import Card, hookimpl\n"
        "from omlab_toy.evaluators import ErrorEvaluator\nfrom omlab_toy.models import Adder\n"
        "OMLAB_HOOK_API = 2\n"
        "common = dict(summary='Looks.', licence='CC0', citation='none', intended_use='Tests.', limits='All.')\n"
        "verb = dict(takes={'signal': 'signal'}, gives='signal')\n"
        "does = {'predict': verb, 'explain': verb}\n"
        "model = dict(name='looker', entry='looker_plugin:load_model', does=does, **common)\n"
        "judge = dict(name='shown', summary='Shows.', entry='looker_plugin:load', licence='CC0', task='none', "
        "judges='signal', target='signal')\n"
        "@hookimpl\ndef omlab_evaluators():\n"
        "    return [Card(kind='evaluator', name='shown', summary='Shows.', data=judge)]\n"
        "@hookimpl\ndef omlab_models():\n"
        "    return [Card(kind='model', name='looker', summary='Looks.', data=model)]\n"
        "class Looker(Adder):\n    def explain(self, batch, /):\n"
        "        return [i['signal'] for i in batch]\n"
        "class Shown(ErrorEvaluator):\n    def illustrated(self, rows):\n        return list(rows)[:1]\n"
        "    def illustrate(self, case, explanation, folder):\n"
        "        (folder / f'{case}.seen').write_text(str(explanation.values))\n"
        "def load(card, *, settings):\n    return Shown()\n"
        "def load_model(card, **given):\n    return Looker(0)\n"
    )
    install("looker", entry_points={"looker": "looker_plugin"}, files={"looker_plugin.py": text})
    omlab.evaluate("looker", "ramps", evaluator="shown", verb="predict", output="board")
    assert [path.name for path in Path("board").glob("*.seen")] == ["c.seen"]
    omlab.evaluate("adder", "ramps", evaluator="shown", output="plain")
    assert not list(Path("plain").glob("*.seen"))


def test_what_results_tell_is_judged_with_them_by_whatever_way_they_come():
    by_model = omlab.evaluate("careful", "ramps", output="by-model")
    omlab.predict("careful", data="ramps", output="out")
    by_run = omlab.evaluate(None, "ramps", predictions="out", output="by-run")
    for outcome in (by_model, by_run):
        values = outcome.cases["c"].values
        assert values["rows"][0]["told"] == values["length"] == 4
        assert set(values["gate"]) == {"signal", "result"}

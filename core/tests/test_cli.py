"""The command line as a user meets it: sentences, exit statuses, JSON."""

import importlib
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest

import omlab
from omlab.card_schema import Setting
from omlab.cli import console, main
from omlab.cli.app import build
from omlab.cli.info import in_words
from omlab.errors import OmlabWarning

HEAD = "from omlab import hookimpl\nOMLAB_HOOK_API = 2\n"


@pytest.fixture
def run(here, monkeypatch, capfd):
    """Run `omlab` in this process with the toy plugin; returns (status, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["omlab", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return end.value.code or 0, out, err

    return call


@pytest.fixture
def notes(here):
    (here / "notes.tsv").write_text("a\ta fox\nb\ta crow\n")
    return here / "notes.tsv"


def one_line(text):
    return " ".join(text.split())


def every_command():
    """The path of each command and group, `omlab` itself as the empty one."""

    def walk(command, path):
        yield path
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                yield from walk(command.get_command(context, name), [*path, name])

    return list(walk(build(), []))


def test_every_commands_help_fits_80_columns_and_says_what_it_does(run):
    seen = every_command()
    assert ["weights", "fetch"] in seen
    assert ["toy"] in seen
    for path in seen:
        status, page, err = run(*path, "--help")
        assert (status, err) == (0, ""), path
        assert max(map(len, page.splitlines())) <= 80, path
        assert page.split("\n\n")[1].strip(), path


def test_the_first_page_shows_each_command_with_a_line(run):
    ours, _, brought = run("--help")[1].partition("\nCommands:\n")[2].partition("\nCommands of installed packages:\n")
    shown = {line.split()[0] for line in ours.splitlines()}
    assert {"predict", "embed", "do", "adapt", "evaluate", "list", "info", "weights", "doctor"} <= shown
    assert "toy" in {line.split()[0] for line in brought.splitlines()} - shown
    assert all(len(line.split()) > 2 for line in [*ours.splitlines(), *brought.splitlines()])


@pytest.mark.parametrize("path", [[], ["predict"], ["adapt"], ["evaluate"], ["info"], ["weights"], ["completion"]])
def test_a_command_without_arguments_shows_its_help(run, path):
    status, _, err = run(*path)
    assert status == 2
    assert err.startswith("Usage: omlab")
    assert "Options:" in err


def test_version(run):
    assert run("--version") == (0, f"omlab-core {omlab.__version__}\n", "")


def test_list_shows_every_kind(run):
    status, out, _ = run("list")
    assert status == 0
    for word in ("models", "adder", "datasets", "ramps", "adapters", "shift", "evaluators", "formats", "signal-text"):
        assert word in out
    assert "does: predict; recipes: fit" in out
    assert max(map(len, out.splitlines())) <= 80
    assert run("list", "adapters")[1].split()[0] == "adapters"
    assert "omlab-toy" in run("list", "plugins")[1]


def test_list_as_json_says_verbs_and_recipes(run):
    status, out, _ = run("list", "--all", "--json")
    shown = json.loads(out)
    assert status == 0
    models = {model["name"]: model for model in shown["models"]}
    assert list(models) == ["adder", "breaker", "careful", "embedder", "mover", "teller"]
    assert (models["adder"]["verbs"], models["adder"]["recipes"]) == (["predict"], ["fit"])
    assert models["mover"]["weights"] == ["published"]
    assert ("toy", "ok") in [(plugin["name"], plugin["status"]) for plugin in shown["plugins"]]
    assert list(json.loads(run("list", "datasets", "--json")[1])) == ["datasets"]


def test_list_shows_the_models_that_are_asked_for(run):
    def names(*options):
        return [model["name"] for model in json.loads(run("list", *options, "--json")[1])["models"]]

    assert names("--modality", "sound") == ["careful"]
    assert names("--modality", "sound", "--all") == ["breaker", "careful"]
    assert names("--verb", "register") == ["mover"]
    assert names("--takes", "note") == ["adder", "teller"]
    assert names("--takes", "note", "--verb", "generate") == ["teller"]
    shown = run("list", "--modality", "sound")[1]
    assert "for: sound, ear; does: predict" in shown
    assert "1 more for tests and demonstrations: omlab list models --all" in shown
    assert "datasets" not in shown


def test_list_leaves_demonstrations_out_unless_asked(run):
    shown = run("list")[1]
    assert "breaker" not in shown
    assert "1 more for tests and demonstrations" in shown
    assert "breaker" in run("list", "--all")[1]
    assert "demonstrations" not in run("list", "datasets")[1]


def test_list_warns_of_what_is_broken(run, install):
    install("bad", entry_points={"bad": "bad_plugin"}, files={"bad_plugin.py": "import nothing_like_this"})
    status, out, err = run("list")
    assert (status, "adder" in out) == (0, True)
    assert "broken: bad (bad): cannot be imported: ModuleNotFoundError" in err


def test_info_shows_what_a_model_does_and_needs(run):
    status, out, _ = run("info", "adder")
    shown = one_line(out)
    assert status == 0
    assert "signal (signal), note (note?: plain) -> signal on the grid of signal" in shown
    assert "set times (predict) How often it is added. (int, default 1)" in shown
    assert "recipe fit (needs signal targets)" in shown
    assert "set offset What is added. (float, default 1.0)" in shown
    assert "needs helper adder" in one_line(run("info", "mover.published")[1])


@pytest.mark.parametrize(("default", "shown"), [("", "empty"), ([], "empty"), (0, "0"), (False, "False")])
def test_info_shows_a_default_of_nothing_as_a_word(default, shown):
    setting = Setting(type=type(default).__name__, default=default, help="What counts.").model_dump()
    assert in_words(setting) == f"What counts. ({type(default).__name__}, default {shown})"


def test_info_tells_how_an_adapted_model_was_made(run, here):
    status, out, err = run("adapt", "adder.untrained", "--data", "ramps", "--adapter", "shift", "-o", "mine")
    assert (status, out, err) == (0, f"{Path.cwd() / 'mine'}\n", "Epoch 1: loss 0.5\n")
    shown = one_line(run("info", "mine")[1])
    assert "mine (adapted model)" in shown
    assert "base adder.untrained" in shown
    assert "adapter shift" in shown
    stored = json.loads(run("info", "mine", "--json")[1])
    assert (stored["kind"], stored["adapted"]["base"]) == ("adapted model", "adder.untrained")
    assert "weights" not in stored


def test_an_adaptation_warns_once_each_time(run, monkeypatch):
    shift = importlib.import_module("omlab_toy.adapters").Shift
    fit = shift.fit

    def warning(*arguments, **more):
        warnings.warn("few cases", OmlabWarning, stacklevel=1)
        return fit(*arguments, **more)

    monkeypatch.setattr(shift, "fit", warning)
    call = ("adapt", "adder.untrained", "--data", "ramps", "--adapter", "shift", "-o", "mine")
    assert run(*call)[2].count("few cases") == 1  # when it comes, not at the end too
    assert run(*call)[2].count("few cases") == 1  # as kept with what is done already


def test_info_as_json_has_does_and_trains(run):
    shown = json.loads(run("info", "adder", "--json")[1])
    assert (shown["kind"], shown["distribution"]) == ("model", "omlab-toy")
    assert shown["does"]["predict"]["takes"] == {"signal": "signal", "note": "note?"}
    assert shown["trains"]["fit"]["target"] == "signal"


@pytest.mark.parametrize("name", ["signal", "signal-text", "ramps", "shift", "error"])
def test_info_of_each_kind(run, name):
    status, out, _ = run("info", name)
    assert (status, out.split()[0]) == (0, name)


def test_doctor(run):
    _, out, _ = run("doctor", "--json")
    checks = {row["check"]: row for row in json.loads(out)["checks"]}
    assert checks["plugin toy"] == {"check": "plugin toy", "state": "ok", "detail": "omlab-toy 1.0"}
    assert checks["weights cache"]["detail"]


def test_doctor_finds_a_broken_plugin(run, install):
    install("bad", entry_points={"bad": "bad_plugin"}, files={"bad_plugin.py": "import nothing_like_this"})
    status, out, _ = run("doctor")
    assert status == 1
    assert "nothing_like_this" in out


@pytest.mark.parametrize("words", [["predict", "adder"], ["embed", "embedder"]])
def test_many_cases_in_a_pipe_tell_how_long_they_will_take(run, signal, monkeypatch, words):
    monkeypatch.setattr(console, "QUIET_SECONDS", 0.0)
    files = [signal(f"{name}.sig", [1]) for name in "abcde"]
    status, _, err = run(*words, *files, "-o", "out")
    assert status == 0
    said = [line for line in err.splitlines() if line.startswith("cases ")]
    assert re.fullmatch(r"cases [1-4]/5, about \d+ s at \S+ s a case, \d+ s left", said[0])
    assert re.fullmatch(r"cases 5/5, \d+ s", said[-1])
    assert not any("about" in line for line in said[1:])


def test_predict_says_where_the_result_is(run, signal):
    words = ["predict", "adder", signal("a.sig", [1]), "-o", "out.sig", "-s", "offset=3", "-s", "times=2"]
    status, out, err = run(*words)
    assert (status, out) == (0, "out.sig\n")
    assert err.startswith("The weights of 'adder.untrained' are untrained")
    assert omlab.read("out.sig").values == [7]
    assert "is complete already" in run(*words)[2]


def test_inputs_are_named_by_path(run, signal):
    fixed, moving = signal("f.sig", [5, 6]), signal("m.sig", [1, 2])
    status, out, err = run("register", "mover.untrained", f"fixed={fixed}", f"moving={moving}", "-o", "out")
    assert (status, out) == (0, f"{Path.cwd() / 'out'}\n"), err
    assert omlab.read(next(Path("out").glob("*.moved.sig*"))).values == [2, 3]


def test_inputs_are_given_as_values(run, signal):
    status, _, err = run("predict", "adder", f"signal={signal('a.sig', [1])}", "note:=plain", "-o", "out.sig")
    assert status == 0, err
    status, _, err = run("generate", "teller", "note:=a fox", "-o", "story")
    assert status == 0, err
    assert "once there was a fox" in "".join(path.read_text() for path in Path("story").glob("*.tsv"))


def test_an_input_that_is_not_accepted_fails_its_case(run, signal):
    status, out, err = run("predict", "adder", f"signal={signal('a.sig', [1])}", "note:=LOUD", "-o", "out.sig")
    assert (status, out) == (1, "")
    assert "plain" in err
    assert not Path("out.sig").exists()


def test_any_verb_can_be_done(run, signal, notes):
    folder = signal("a.sig", [1, 2]).parent
    assert run("do", "embed", "embedder", folder, "-o", "done")[0] == 0
    assert run("embed", "embedder", folder, "-o", "embedded")[0] == 0
    tables = [next(Path(name).glob("*.csv")).read_text() for name in ("done", "embedded")]
    assert tables == ["a,1.5,2.0\n"] * 2
    status, _, err = run("do", "tell", "teller", notes)
    assert status == 2
    assert "generate" in err


def test_data_is_given_by_name(run):
    status, out, _ = run("datasets", "prepare", "ramps", "--root", "data")
    assert (status, out) == (0, "data\n")
    status, _, err = run("predict", "adder", "--data", "ramps", "--split", "train", "--root", "data", "-o", "out")
    assert (status, "2 of 2 cases are done.\n" in err) == (0, True)
    assert [path.name[0] for path in sorted(Path("out").glob("*.sig*"))] == ["a", "b"]


def test_predict_exits_1_when_a_case_failed(run, signal):
    bad = signal("bad.sig", [1])
    bad.write_text("prose")
    status, out, err = run("predict", "adder", bad, signal("good.sig", [1]), "-o", "out")
    assert (status, out) == (1, f"{Path.cwd() / 'out'}\n")
    assert "bad failed: " in err
    assert "bad.sig is not a signal: its first line is 'prose'." in err
    assert "1 of 2 cases are done." in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["predct", "adder"], "did you mean 'predict'?"),
        (["predict", "adder", "--devise", "cpu"], "--device"),
        (["predict", "addr", "a.sig"], "did you mean 'adder'?"),
        (["predict", "adder.publishd", "a.sig"], "untrained"),
        (["predict", "adder", "nowhere.sig"], "nowhere.sig does not exist"),
        (["predict", "adder"], "signal"),
        (["predict", "adder", "a.sig", "-s", "offset"], "name=value"),
        (["predict", "adder", "a.sig", "-s", "ofset=3"], "did you mean 'offset'?"),
        (["predict", "adder", "a.sig", "-s", "offset=much"], "offset"),
        (["predict", "adder", "a.sig", "--batch", "0"], "--batch"),
        (["predict", "adder", "signal=a.sig", "signal=a.sig"], "The input 'signal' is given twice."),
        (["predict", "adder", "a.sig", "colour=a.sig"], "colour"),
        (["embed", "adder", "a.sig"], "predict"),
        (["adapt", "adder", "--data", "rampz", "--adapter", "shift"], "did you mean 'ramps'?"),
        (["adapt", "adder", "--data", "ramps", "--adapter", "shft"], "did you mean 'shift'?"),
        (
            ["adapt", "adder", "--data", "ramps", "--adapter", "shift", "-s", "seed=1"],
            "an option of the command: --seed 1 (in Python seed=)",
        ),
        (["predict", "adder", "a.sig", "-s", "batch=2"], "'batch' is no setting but an option of the command"),
        (["evaluate", "--data", "ramps"], "model"),
        (["list", "modles"], "There is nothing called 'modles' to list: did you mean 'models'?"),
        (["list", "--modality", "sounds"], "No model has the modality 'sounds': did you mean 'sound'?"),
        (["list", "--takes", "tone"], "No model has the input of the kind 'tone'"),
        (["list", "datasets", "--verb", "predict"], "--verb chooses among models: leave out 'datasets'."),
        (["info", "ader"], "did you mean 'adder'"),
        (["weights", "fetch", "movr"], "did you mean 'mover'?"),
        (["weights", "ftch", "mover"], "fetch"),
        (["merge", "nowhere"], "nowhere"),
    ],
)
def test_a_users_mistake_is_a_sentence_and_status_2(run, signal, here, arguments, sentence):
    signal("a.sig", [1]).rename("a.sig")
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert sentence in one_line(err)
    told = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(told) == 1
    assert sorted(path.name for path in here.iterdir()) == ["a.sig"]


def test_evaluate_names_the_command_that_a_benchmark_has_of_its_own(run):
    status, _, err = run("evaluate", "toy", "--models", "a b,c")
    assert status == 2
    assert "'toy' is no model but a command of its own: omlab toy --models 'a b,c'" in one_line(err)


def test_a_model_may_be_called_as_a_command_is(run):
    omlab.adapt("adder.untrained", "ramps", adapter="shift", output="toy")
    assert run("evaluate", "toy", "--data", "ramps", "--root", "data", "-o", "board")[0] == 0


def test_adapt_and_evaluate(run):
    assert run("datasets", "prepare", "ramps", "--root", "data")[0] == 0
    status, out, err = run(
        "adapt", "adder.untrained", "--data", "ramps", "--root", "data", "--adapter", "shift", "-o", "adapted"
    )
    assert (status, out) == (0, f"{Path.cwd() / 'adapted'}\n"), err
    status, out, err = run("evaluate", "adapted", "--data", "ramps", "--root", "data", "-o", "board")
    assert status == 0, err
    assert "error" in out
    assert "0.000" in out
    assert out.endswith("board\n")
    assert run("predict", "adapted", "data/a.sig", "-o", "a.sig")[0] == 0
    assert omlab.read("a.sig").values == [5, 6, 7, 8]


def test_results_made_before_are_judged(run):
    assert run("datasets", "prepare", "ramps", "--root", "data")[0] == 0
    assert run("predict", "adder", "--data", "ramps", "--root", "data", "-s", "offset=3", "-o", "out")[0] == 0
    status, out, err = run("evaluate", "--predictions", "out", "--data", "ramps", "--root", "data", "-o", "board")
    assert status == 0, err
    assert "2.000" in out


def test_a_plugins_command_is_there(run):
    assert run("toy") == (0, "toy command\n", "")


@pytest.mark.parametrize("body", ["raise ValueError('no')", "import sys; sys.exit(3)", "print('noise')"])
def test_what_a_plugins_hook_does_harms_no_command(run, install, body):
    text = f"{HEAD}@hookimpl\ndef omlab_commands(cli):\n    {body}\n"
    install("bad", entry_points={"bad": "bad_plugin"}, files={"bad_plugin.py": text})
    status, out, err = run("toy")
    assert (status, out) == (0, "toy command\n")
    assert err == ("noise\n" if "noise" in body else "")
    shown = json.loads(run("list", "plugins", "--json")[1])["plugins"]
    assert {plugin["name"] for plugin in shown} >= {"toy", "bad"}


def test_a_plugin_cannot_take_the_name_of_a_command(run, install):
    text = f"{HEAD}@hookimpl\ndef omlab_commands(cli):\n    cli.add_lazy('predict', 'x:y', 'Mine.')\n"
    install("bad", entry_points={"bad": "bad_plugin"}, files={"bad_plugin.py": text})
    assert "Mine." not in run("--help")[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(run, shell):
    status, out, err = run("completion", shell)
    assert (status, err) == (0, "")
    assert "_OMLAB_COMPLETE" in out


def test_as_a_process_of_its_own(toy, signal, tmp_path):
    """`python -m omlab` gives the exit status, and a mistake's sentence alone."""
    environment = {**os.environ, "PYTHONPATH": str(toy)}

    def call(*words, **variables):
        command = [sys.executable, "-m", "omlab", *map(str, words)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment | variables, timeout=120
        )
        assert "Traceback" not in done.stderr
        return done

    bad = signal("bad.sig", [1])
    bad.write_text("prose")
    assert call("predict", "adder", bad, "-o", "out").returncode == 1
    done = call("predict", "addr", bad)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: There is no model 'addr': did you mean 'adder'?\n"

"""The command line as a user meets it: sentences, exit statuses, JSON, help, completion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from omlab.cli.app import COMMANDS


@pytest.fixture
def run(here, capsys, monkeypatch):
    """Run `omlab` in this process: (status, stdout, stderr). What escapes would be a traceback, and fails the test."""
    from omlab.cli import main

    def omlab(*arguments):
        monkeypatch.setattr(sys, "argv", ["omlab", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    monkeypatch.setenv("COLUMNS", "80")
    return omlab


@pytest.fixture
def process(here, toy):
    """Run Python in a process of its own with the toy alone: (status, stdout, stderr)."""
    environment = {**os.environ, "PYTHONPATH": str(toy), "COLUMNS": "80", "OMLAB_PLUGINS": "toy"}
    environment.pop("OMLAB_PLUGINS_OFF", None)

    def python(*arguments, **variables):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment | variables,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return python


# -- listing and telling ------------------------------------------------------------------------------------------


def test_list_shows_everything(run):
    status, out, _ = run("list")
    assert status == 0
    words = "models adder predict recipes fit weights published datasets ramps adapters shift evaluators error formats "
    for word in (words + "signal-text payloads signal").split():
        assert word in out
    assert max(map(len, out.splitlines())) <= 80


def test_list_of_one_sort(run):
    status, out, _ = run("list", "adapters")
    assert (status, [line.split()[0] for line in out.splitlines()[1:]]) == (0, ["mean-probe", "shift"])
    assert "omlab-toy" in run("list", "plugins")[1]


def test_list_as_json(run):
    shown = json.loads(run("list", "--json")[1])
    assert [model["name"] for model in shown["models"]] == ["adder", "breaker", "embedder", "mover", "teller"]
    assert shown["models"][0]["verbs"] == ["predict"]
    assert shown["models"][0]["recipes"] == ["fit"]
    assert {"name": "toy", "status": "ok"}.items() <= next(p for p in shown["plugins"] if p["name"] == "toy").items()
    assert set(json.loads(run("list", "models", "--json")[1])) == {"models"}


def test_list_tells_of_what_is_broken_on_standard_error(run, install):
    install("bad", entry_points={"bad": "bad_plugin"}, files={"bad_plugin.py": "import nothing_like_this"})
    twin = "from omlab import Card, hookimpl\nOMLAB_HOOK_API = 2\n@hookimpl\ndef omlab_models():\n"
    twin += "    return [Card(kind='model', name='adder', summary='Another.', data={})]\n"
    install("twin", entry_points={"twin": "twin_plugin"}, files={"twin_plugin.py": twin})
    status, out, err = run("list")
    assert status == 0
    assert "nothing_like_this" in err
    assert "duplicate: model 'adder' is offered by omlab-toy and twin" in err
    assert "nothing_like_this" not in out
    status, _, err = run("info", "adder")
    assert (status, "offered by omlab-toy and twin; uninstall one of them" in err) == (2, True)


def test_info_shows_a_card(run):
    status, out, _ = run("info", "adder")
    assert status == 0
    for words in (
        "Adds an offset",
        "signal (signal), note (note?: plain) -> signal on the grid of signal",
        "set offset",
        "(predict) How often",
        "recipe fit",
        "needs signal targets",
    ):
        assert words in " ".join(out.split())
    facts = json.loads(run("info", "adder.untrained", "--json")[1])
    assert facts["does"]["predict"]["takes"] == {"signal": "signal", "note": "note?"}
    assert facts["kind"] == "model"
    assert "mover.pth" in run("info", "mover")[1]


def test_doctor(run, install):
    status, out, _ = run("doctor", "--json")
    checks = {row["check"]: row for row in json.loads(out)}
    assert status == 0
    assert checks["plugin toy"]["state"] == "ok"
    assert checks["weights cache"]["detail"]
    install("bad", entry_points={"bad": "bad_plugin"}, files={"bad_plugin.py": "import nothing_like_this"})
    status, out, _ = run("doctor")
    assert status == 1
    assert "nothing_like_this" in out


def test_version(run):
    assert run("--version")[1].startswith("omlab-core ")


# -- verbs --------------------------------------------------------------------------------------------------------


def test_predict_says_where_the_result_is_and_nothing_else_on_standard_output(run, signal, here):
    status, out, err = run("predict", "adder", signal("a.sig", [1]), "-o", "out.sig", "-s", "offset=3", "-s", "times=2")
    assert (status, out) == (0, "out.sig\n")
    assert (here / "out.sig").read_text() == "signal\n7.0"
    assert "means nothing" in err
    status, _, err = run("predict", "adder", signal("a.sig", [1]), "-o", "out.sig", "-s", "model.offset=3", "-s",
                         "options.times=2")  # fmt: skip
    assert (status, "Nothing to do: this run is complete already" in err) == (0, True)


def test_inputs_by_name_by_value_and_settings_of_reading(run, signal, here):
    path = signal("a.sig", [1, 2])
    (here / "note.tsv").write_text("n\thello\n")
    assert run("predict", "adder", path, "note=note.tsv", "-o", "one")[0] == 0
    assert run("predict", "adder", path, "note:=hello", "-o", "two")[0] == 0
    assert run("predict", "adder", f"signal={path}", "-o", "three", "-s", "read.skip=1")[0] == 0
    assert (here / "three" / "a.sig.txt").read_text() == "signal\n3.0"
    assert run("predict", "adder", path, "-o", "four", "-s", "read.signal.skip=1", "-s", "offset=9")[0] == 0
    assert (here / "four" / "a.sig.txt").read_text() == "signal\n11.0"
    (here / "x=y.sig").write_text("signal\n5")
    assert run("predict", "adder", "x=y.sig", "-o", "five")[0] == 0  # a file of that name is a file
    assert (here / "five" / "x=y.sig.txt").read_text() == "signal\n6.0"
    assert run("generate", "teller", 'note:="a cat"', "-o", "six")[0] == 0
    assert (here / "six" / "generate.tsv").read_text() == "note\tonce there was a cat\n"


def test_any_verb_is_done(run, signal, here):
    fixed, moving = signal("fixed.sig", [5]), signal("moving.sig", [1])
    named = (f"fixed={fixed}", f"moving={moving}")
    assert run("register", "mover.untrained", *named, "-o", "one")[0] == 0
    assert run("do", "register", "mover.untrained", *named, "-o", "two")[0] == 0
    assert (here / "one" / "fixed.moved.sig.txt").read_text() == (here / "two" / "fixed.moved.sig.txt").read_text()
    status, _, err = run("do", "regster", "mover.untrained", *named)
    assert (status, "'mover.untrained' has no verb 'regster': did you mean 'register'?" in err) == (2, True)
    status, _, err = run("embed", "adder", fixed)
    assert (status, "'adder' has no verb 'embed': there are predict." in err) == (2, True)


def test_status_1_when_a_case_failed(run, signal):
    bad = signal("bad.sig", [1])
    bad.write_text("prose")
    status, out, err = run("predict", "adder", bad, signal("good.sig", [1]), "-o", "out")
    assert (status, Path(out.strip()).name) == (1, "out")
    assert "bad failed: " in err
    assert "bad.sig is not a signal" in err
    assert "1 of 2 cases are done." in err


def test_many_failures_are_told_of_in_part(run, signal):
    for number in range(30):
        signal(f"{number:02}.sig", [1]).write_text("prose")
    status, _, err = run("predict", "adder", signal("a.sig", [1]).parent, "-o", "out")
    assert status == 1
    assert err.count(" failed: ") == 20
    assert "... and 10 more: see cases.jsonl." in err


def test_warnings_and_pictures_are_told_with_their_case(run, signal):
    status, _, err = run(
        "predict", "adder", signal("a.sig", [1, 2]), "-o", "out", "-s", "read.skip=1", "--overlay", "p.png"
    )
    assert status == 0
    assert "a: 1 lines were left out." in err
    assert "Picture: p.png" in err


def test_an_interruption_says_what_is_kept(run, signal):
    status, out, err = run("predict", "breaker", signal("a.sig", [1]), "-o", "out", "-s", "way=stop")
    assert (status, out) == (130, "")
    assert "Interrupted: run the same command again to go on." in err


def test_adapt_evaluate_merge_and_data_sets(run, here):
    assert run("datasets", "prepare", "ramps")[:2] == (0, "omlab-data/ramps\n")
    status, out, err = run("adapt", "adder.untrained", "--data", "ramps", "--adapter", "shift", "-o", "mine")
    assert (status, out) == (0, f"{here / 'mine'}\n"), err
    status, out, _ = run("evaluate", "mine", "--data", "ramps", "-o", "board")
    assert (status, "0.000" in out) == (0, True)
    assert run("predict", "mine", "--data", "ramps", "-o", "out")[0] == 0
    status, out, _ = run("evaluate", "--predictions", "out", "--data", "ramps", "-o", "again")
    assert (status, "0.000" in out) == (0, True)
    status, out, _ = run("datasets", "verify", "ramps")
    assert (status, "Nothing is wrong." in out) == (0, True)
    (here / "omlab-data" / "ramps" / "a.sig").unlink()
    status, out, _ = run("datasets", "verify", "ramps", "--json")
    assert (status, json.loads(out)["problems"]) == (1, ["a.sig is missing"])
    assert run("merge", "out")[0] == 0
    status, _, err = run("merge", "nowhere")
    assert (status, "nowhere is no run of omlab" in err) == (2, True)


# -- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["predikt"], "There is no command 'predikt': did you mean 'predict'?"),
        (["list", "modles"], "There is nothing called 'modles' to list: did you mean 'models'?"),
        (["info", "ader"], "Nothing called 'ader' is installed: did you mean 'adder'?"),
        (["predict", "addr", "a.sig"], "There is no model 'addr': did you mean 'adder'?"),
        (["predict", "adder", "nowhere.sig"], "nowhere.sig does not exist."),
        (["predict", "adder"], "Nothing to do: name at least one file or folder for 'signal' of 'adder'."),
        (["predict", "adder", "a.sig", "--ouput", "x"], "No such option '--ouput'"),
        (["predict", "adder", "a.sig", "-s", "offset"], "'offset' is not a setting: write name=value."),
        (["predict", "adder", "a.sig", "-s", "ofset=1"], "There is no setting 'ofset' here: did you mean 'offset'?"),
        (["predict", "adder", "a.sig", "-s", "tmes=1"], "There is no setting 'tmes' here: did you mean 'times'?"),
        (["predict", "adder", "a.sig", "-s", "modl.offset=1"], "there is no 'modl': did you mean 'model'?"),
        (["predict", "adder", "a.sig", "-s", "read.skp=1"], "'signal-text' has no setting 'skp': did you mean 'skip'?"),
        (["predict", "adder", "a.sig", "-s", "offset=far"], "'offset' of 'adder' is 'far', but must be a number."),
        (["predict", "adder", "a.sig", "note=a.sig", "note=a.sig"], "The input 'note' is given twice."),
        (["predict", "adder", "a.sig", "nte=a.sig"], "'adder' has no input 'nte': did you mean 'note'?"),
        (["predict", "adder", "a.sig", "--batch", "0"], "'--batch'"),
        (["predict", "adder", "a.sig", "-o", "/"], "choose another output."),
        (["predict", "adder", "a.sig", "-o", "seg.png"], "A picture is asked for with --overlay."),
        (["adapt", "adder", "--data", "rampz", "--adapter", "shift"], "no data set 'rampz': did you mean 'ramps'?"),
        (["adapt", "adder", "--data", "ramps"], "There is no adapter 'finetune': there are mean-probe, shift."),
        (["adapt", "adder", "--data", "ramps", "--adapter", "shift", "-s", "patince=1"], "did you mean 'patience'?"),
        (["adapt", "adder"], "Missing option '--data'"),
        (["evaluate", "--data", "ramps"], "Name either a model or a folder of predictions to evaluate."),
        (["weights", "fetch", "addr"], "did you mean 'adder'"),
        (["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)  # fmt: skip
def test_a_users_mistake_is_one_sentence_and_status_2(run, here, arguments, sentence):
    (here / "a.sig").write_text("signal\n1")
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert sentence in " ".join(err.split())
    assert err.count("Error: ") == 1
    assert not (here / "omlab-runs").exists()


# -- help ---------------------------------------------------------------------------------------------------------

WEIGHTS = ("list", "fetch", "verify", "path", "convert", "remove", "export", "import", "check-links")
HELPS = [
    (),
    *((name,) for name in COMMANDS),
    *(("datasets", name) for name in ("prepare", "verify")),
    *(("weights", name) for name in WEIGHTS),
]


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_help_fits_80_columns(run, command):
    for word in ("--help", "-h"):
        status, out, _ = run(*command, word)
        assert status == 0
        assert out.startswith(f"Usage: {' '.join(('omlab', *command))} ")
        assert [line for line in out.splitlines() if len(line) > 80] == []
        assert not any(line.endswith("...") for line in out.splitlines()[1:])  # no help is cut short


def test_help_lists_every_command_with_a_line_and_those_of_plugins(run):
    out = run("--help")[1]
    for name in (*COMMANDS, "toy"):
        assert any(line.split()[:1] == [name] and len(line.split()) > 2 for line in out.splitlines())
    assert run()[1] == "" or "Usage: omlab" in run()[1]


def test_a_plugins_command_is_run(run):
    assert run("toy") == (0, "toy command\n", "")


@pytest.mark.parametrize(
    "body", ["raise ValueError", "raise SystemExit(3)", "cli.add_lazy('predict', 'a:b', 'Mine.')", "print('noise')"]
)
def test_a_plugins_broken_command_harms_nothing(run, install, body):
    text = (
        f"import sys\nfrom omlab import hookimpl\nOMLAB_HOOK_API = 2\n@hookimpl\ndef omlab_commands(cli):\n    {body}\n"
    )
    install("bad", entry_points={"bad": "bad_plugin"}, files={"bad_plugin.py": text})
    assert run("toy")[:2] == (0, "toy command\n")
    assert "Run a model on files" in run("--help")[1]
    assert run("list", "models")[0] == 0


# -- processes of their own ---------------------------------------------------------------------------------------


def test_python_m_omlab_is_omlab(process, signal, here):
    status, out, err = process("-m", "omlab", "predict", "adder", signal("a.sig", [1]), "-o", "out.sig")
    assert (status, out) == (0, "out.sig\n"), err
    assert process("-m", "omlab", "predict", "adder", "b.sig")[0] == 2
    assert "Usage: omlab [OPTIONS]" in process("-m", "omlab", "--help")[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_that_shell(process, shell):
    status, out, _ = process("-m", "omlab", "completion", shell)
    assert status == 0
    assert "_OMLAB_COMPLETE" in out
    assert shell != "bash" or subprocess.run(["bash", "-n"], input=out, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("omlab pred", {"plain,predict"}),
        ("omlab to", {"plain,toy"}),
        ("omlab nonsense --x", set()),
        ("omlab datasets ", {"plain,prepare", "plain,verify"}),
        ("omlab predict --over", {"plain,--overlay"}),
        ("omlab predict ad", {"plain,adder"}),
        ("omlab predict adder.", {"plain,adder.untrained"}),
        ("omlab predict min", {"dir,min"}),
        ("omlab predict adder sc", {"file,sc"}),
        ("omlab info mean", {"plain,mean-probe"}),
    ],
)
def test_completion_completes(process, words, expected):
    script = "import sys; sys.argv = ['omlab']; from omlab.cli import main; main()"
    count = len(words.split()) - (not words.endswith(" "))
    variables = {"_OMLAB_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    _, out, err = process("-c", script, **variables)
    assert err == ""
    assert set(out.split()) == expected

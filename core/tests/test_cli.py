"""The command line as a user meets it: sentences, exit statuses, JSON."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def run(toy, tmp_path):
    """Run `omlab` with the toy plugin in a folder of its own; returns (status, stdout, stderr)."""
    environment = {**os.environ, "PYTHONPATH": str(toy), "COLUMNS": "80", "OMLAB_PLUGINS": "toy"}

    def omlab(*arguments, **variables):
        command = [sys.executable, "-c", "from omlab.cli import main; main()", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment | variables, timeout=120
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return omlab


def test_list_shows_everything_and_the_weights(run):
    status, out, _ = run("list")
    assert status == 0
    for word in ("models", "adder", "datasets", "ramps", "adapters", "evaluators", "formats", "signal-text"):
        assert word in out


def test_list_as_json(run):
    status, out, _ = run("list", "--json")
    shown = json.loads(out)
    assert status == 0
    assert [model["name"] for model in shown["models"]] == ["adder", "breaker", "pointer", "writer"]
    assert shown["plugins"][0]["status"] in ("ok", "off")


def test_list_of_something_unknown(run):
    status, _, err = run("list", "modles")
    assert status == 2
    assert "nothing called 'modles'" in err


def test_info_shows_a_card(run):
    status, out, _ = run("info", "adder")
    assert status == 0
    assert "Adds an offset" in out
    assert "set offset" in out
    status, out, _ = run("info", "adder", "--json")
    assert json.loads(out)["takes"] == "signal"


def test_info_of_something_unknown(run):
    status, _, err = run("info", "ader")
    assert status == 2
    assert "did you mean 'adder'" in err


def test_doctor(run):
    status, out, _ = run("doctor", "--json")
    checks = {row["check"]: row for row in json.loads(out)}
    assert status == 0
    assert checks["plugin toy"]["state"] == "ok"
    assert checks["weights cache"]["detail"]


def test_doctor_finds_a_broken_plugin(run, install):
    install("bad", entry_points={"bad": "bad_plugin"}, files={"bad_plugin.py": "import nothing_like_this"})
    status, out, _ = run("doctor", OMLAB_PLUGINS="toy,bad")
    assert status == 1
    assert "nothing_like_this" in out


def test_predict_says_where_the_result_is(run, signal, tmp_path):
    status, out, _ = run("predict", "adder", signal("a.sig", [1]), "-o", tmp_path / "out.sig", "-s", "offset=3")
    assert status == 0
    assert out.strip() == str(tmp_path / "out.sig")
    assert (tmp_path / "out.sig").read_text() == "signal\n4.0"


def test_predict_exits_1_when_a_case_failed(run, signal):
    bad = signal("bad.sig", [1])
    bad.write_text("prose")
    status, _, err = run("predict", "adder", bad, signal("good.sig", [1]))
    assert status == 1
    assert "bad.sig is not a signal" in err
    assert "1 of 2 cases predicted" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["predict", "addr", "a.sig"], "did you mean 'adder'"),
        (["predict", "adder", "nowhere.sig"], "nowhere.sig does not exist."),
        (["predict", "adder"], "Missing argument"),
        (["predict", "adder", "a.sig", "-s", "offset"], "write name=value"),
        (["adapt", "adder", "--data", "rampz", "--adapter", "offset"], "did you mean 'ramps'"),
        (["evaluate", "--data", "ramps"], "either a model or a folder"),
        (["weights", "fetch", "addr"], "did you mean 'adder'"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_status_2(run, arguments, sentence):
    status, _, err = run(*arguments)
    assert status == 2
    assert sentence in " ".join(err.replace("│", " ").split())


def test_adapt_and_evaluate(run):
    status, out, _ = run("adapt", "adder.untrained", "--data", "ramps", "--adapter", "offset", "-o", "adapted")
    assert status == 0
    status, out, _ = run("evaluate", "adapted", "--data", "ramps", "--evaluator", "error", "-o", "board")
    assert status == 0
    assert "error" in out
    assert "0.000" in out


def test_a_plugins_command_is_there(run):
    assert run("toy") == (0, "toy command\n", "")


def test_a_plugins_broken_command_harms_nothing(run, install):
    text = "from omlab import hookimpl\nOMLAB_HOOK_API = 1\n@hookimpl\ndef omlab_commands(cli):\n    raise ValueError\n"
    install("bad", entry_points={"bad": "bad_plugin"}, files={"bad_plugin.py": text})
    assert run("toy", OMLAB_PLUGINS="toy,bad")[0] == 0


def test_version(run):
    assert run("--version")[1].startswith("omlab-core ")


def test_points_clicks_and_pictures(run, signal, tmp_path):
    path, rough = signal("a.sig", [1, 2, 3]), signal("rough.sig", [0, 1, 1])
    model = "pointer.untrained"
    status, out, err = run("predict", model, path, "--labels", rough, "--clicks", 2, "-o", "out", "--overlay", "p.png")
    assert status == 0, err
    assert "part" in out
    assert "0.500" in out
    assert "Picture: p.png" in err
    for option in ("--points", "--prompts"):
        status, out, _ = run("predict", model, path, option, "out/a.prompts.json", "-o", f"{option[2:]}.sig")
        assert status == 0
    assert (tmp_path / "points.sig").read_text() == (tmp_path / "out" / "a.sig.txt").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "is pointed at: give points with --points FILE"),
        (["--clicks", "3"], "--clicks is for simulated clicks against a reference, which also need --labels FILE"),
        (["--labels", "a.sig"], "which also need --clicks N"),
        (["--seed", "3"], "--seed is for simulated clicks"),
        (["--labels", "a.sig", "--clicks", "1", "--points", "p.json"], "either given or simulated"),
        (["b.sig", "--labels", "a.sig", "--clicks", "1"], "in one input against its reference, but 2 are named"),
    ],
)
def test_options_that_belong_together(run, signal, options, message):
    status, out, err = run("predict", "pointer", signal("a.sig", [1]), *options)
    assert (status, out) == (2, "")
    assert message in err

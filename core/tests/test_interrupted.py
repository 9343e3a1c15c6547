"""A command that is killed or interrupted in the middle, and started again: in processes of their own."""

import os
import signal as signals
import subprocess
import sys
import time
from pathlib import Path

import pytest

import omlab
from omlab.records import CaseLog
from omlab.run_folder import read_log

pytestmark = pytest.mark.usefixtures("here")

SLOW_CARDS = """
[[model]]
name = "sleeper"
summary = "Stops at the fifth case until a file is there."
entry = "sleeper.plugin:load"
licence = "Apache-2.0"
citation = "none"
intended_use = "Tests."
limits = "Everything else."
[model.does.predict]
takes = { signal = "signal" }
gives = "signal"
[model.does.embed]
takes = { signal = "signal" }
gives = "vector"
"""
SLOW = """
import time
from pathlib import Path
from omlab import hookimpl, read_cards
OMLAB_HOOK_API = 2

@hookimpl
def omlab_models():
    return read_cards(__package__, "model")

class Sleeper:
    def _wait(self, batch):
        for case in batch:
            with open("asked.txt", "a") as stream:
                stream.write(f"{case['signal'].values[0]:g}\\n")
            while case["signal"].values[0] == 4 and not Path("go").exists():
                Path("stopped").touch()
                time.sleep(0.01)

    def predict(self, batch, /):
        self._wait(batch)
        return [case["signal"] for case in batch]

    def embed(self, batch, /):
        from omlab_toy.payloads import Vector
        self._wait(batch)
        return [Vector(case["signal"].values) for case in batch]

def load(card, *, weights, needs, device, settings, config):
    return Sleeper()
"""


def interruptible() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would its children."""
    signals.signal(signals.SIGINT, signals.SIG_DFL)


@pytest.fixture
def start(install, toy, signal, here):
    """Start `omlab VERB sleeper`, and wait until four cases are done and the fifth is in the network."""
    for number in range(8):
        folder = signal(f"{number}.sig", [number]).parent
    files = {"sleeper/__init__.py": "", "sleeper/plugin.py": SLOW, "sleeper/cards.toml": SLOW_CARDS}
    install("sleeper", entry_points={"sleeper": "sleeper.plugin"}, files=files)
    environment = {**os.environ, "PYTHONPATH": str(toy), "OMLAB_PLUGINS": "toy,sleeper"}
    environment.pop("OMLAB_PLUGINS_OFF", None)
    started = []

    def run(verb):
        command = [sys.executable, "-m", "omlab", verb, "sleeper", str(folder), "-o", "out", "--device", "cpu"]
        process = subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible
        )
        started.append(process)
        deadline = time.monotonic() + 60
        while len(CaseLog(Path("out.partial"))) < 4 or not Path("stopped").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def asked():
    return Path("asked.txt").read_text().split()


def go_on(verb, folder):
    """Start it again, here."""
    Path("go").touch()
    before = len(asked())
    outcome = omlab.apply_verb(verb, "sleeper", folder, output="out", device="cpu")
    assert outcome.counts == (8, 0)
    assert not Path("out.partial").exists()
    return asked()[before:]


@pytest.mark.parametrize("verb", ["predict", "embed"])
def test_a_killed_command_goes_on_where_it_stopped(start, signal, verb):
    process = start(verb)
    process.send_signal(signals.SIGKILL)
    process.wait()
    with (Path("out.partial") / "cases.jsonl").open("ab") as log:
        log.write(b'{"id":"4","status":"do')  # as a kill in the middle of a write leaves it
    assert not Path("out").exists()
    folder = signal("0.sig", [0]).parent  # whose time is another now, but not its content
    assert go_on(verb, folder) == ["4", "5", "6", "7"]
    names = sorted(path.name for path in Path("out").iterdir())
    if verb == "embed":
        assert names == ["cases.jsonl", "embed.csv", "records.bin", "run.json"]
        assert Path("out/embed.csv").read_text() == "".join(f"{n},{n}.0\n" for n in range(8))
    else:
        assert names == sorted(
            [f"{n}{s}" for n in range(8) for s in (".notes", ".sig.txt")] + ["cases.jsonl", "run.json"]
        )


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(start, signal):
    process = start("predict")
    process.send_signal(signals.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "4 cases are kept in " in err
    assert "run the same command again to go on." in err
    assert read_log(Path("out.partial"))["finished"] is None
    assert not list(Path("out.partial").glob(".*"))  # no lock, nothing half done
    assert go_on("predict", signal("0.sig", [0]).parent) == ["4", "5", "6", "7"]


def test_a_users_files_survive_an_interrupted_rerun(start, signal):
    process = start("predict")
    process.send_signal(signals.SIGINT)
    process.communicate(timeout=60)
    (Path("out.partial") / "thesis.txt").write_text("mine")
    go_on("predict", signal("0.sig", [0]).parent)
    assert Path("out/thesis.txt").read_text() == "mine"

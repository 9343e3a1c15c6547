"""`omlab weights convert`: a published checkpoint once and for all as safetensors that the model takes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import omlab
from omlab.cli.weights import weights as command
from omlab.digests import file_digest
from omlab.errors import OmlabError, OutputError, UnknownNameError, UsageError, WeightsError
from omlab.weights import read_state_dict
from omlab.weights.convert import convert

CODE = """
import torch

class Net:
    def __init__(self, module):
        self.module = module

    def predict(self, batch, /):
        return [inputs["signal"] for inputs in batch]

def load(card, *, weights, needs, device, settings, config):
    module = torch.nn.Linear(3, 2)
    if weights is not None:
        weights.load(module)
    return Net(module)
"""
PLUGIN = """
from omlab import hookimpl, read_cards
OMLAB_HOOK_API = 2

@hookimpl
def omlab_models():
    return read_cards(__package__, "model")
"""
MODEL = """
[[model]]
name = "{name}"
summary = "A line."
entry = "omlab_net.code:load"
licence = "Apache-2.0"
citation = "none"
intended_use = "Tests."
limits = "Everything else."
default_weights = "{default}"
[model.does.predict]
takes = {{ signal = "signal" }}
gives = "signal"
"""
WEIGHTS = """
[model.weights.{tag}]
summary = "Made up."
licence = "CC0-1.0"
files = [{files}]
"""
STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


@pytest.fixture(autouse=True)
def published(install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model `net` whose published file is here, `pair` with two files, and `raw` without any."""
    path = tmp_path / "first.pth"
    content = {f"module.{key}": value for key, value in STATE.items()} | {"module.head.x": torch.zeros(1)}
    torch.save({"net": {"state": content}, "args": argparse.Namespace(lr=1)}, path)
    file = f'{{ name = "first.pth", url = "file://{path}", size = {path.stat().st_size}, '
    file += 'wrapper = "net.state", prefix = "module.", dropped = ["head.*"] }'
    cards = MODEL.format(name="net", default="first") + WEIGHTS.format(tag="first", files=file)
    cards += MODEL.format(name="pair", default="both") + WEIGHTS.format(tag="both", files=f"{file}, {file}")
    cards += MODEL.format(name="raw", default="untrained")
    files = {"omlab_net/cards.toml": cards, "omlab_net/code.py": CODE, "omlab_net/plugin.py": PLUGIN}
    install("omlab-net", entry_points={"net": "omlab_net.plugin"}, files=files | {"omlab_net/__init__.py": ""})
    monkeypatch.chdir(tmp_path)
    return path


def test_the_file_holds_the_weights_alone_and_loads(published: Path) -> None:
    done = convert("net", "out/net.safetensors")
    state = read_state_dict(done.path)
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], value) for key, value in STATE.items())
    assert (done.tensors, done.size, done.sha256) == (2, done.path.stat().st_size, file_digest(done.path))
    model = omlab.load_model("net", weights=done.path)
    assert torch.equal(model.model.module.weight, STATE["weight"])
    assert [path.name for path in Path("out").iterdir()] == ["net.safetensors"]


def test_a_local_copy_of_any_name_is_read_by_the_cards_rules(published: Path, tmp_path: Path) -> None:
    copy = published.rename(tmp_path / "renamed.pth")
    for number, name in enumerate(["net", "net.first"]):
        assert convert(name, f"{number}.safetensors", weights=copy).tensors == 2


def test_a_plain_state_dict_is_converted_too(published: Path) -> None:
    torch.save(STATE, "plain.pth")
    assert convert("net", "new.safetensors", weights="plain.pth").tensors == 2


def test_what_does_not_fit_leaves_nothing(published: Path) -> None:
    short = {"net": {"state": {"module.weight": STATE["weight"]}}}
    torch.save(short, "short.pth")
    with pytest.raises(WeightsError, match=r"short\.pth cannot be converted: short\.pth does not fit .* missing: bias"):
        convert("net", "new.safetensors", weights="short.pth")
    assert not list(Path().glob("*.safetensors"))
    assert not list(Path().glob(".omlab*"))


@pytest.mark.parametrize(
    ("name", "output", "weights", "error", "message"),
    [
        ("net", "new.pth", None, UsageError, r"ends in \.safetensors"),
        ("net", "there.safetensors", None, OutputError, "exists already"),
        ("net.second", "new.safetensors", None, UnknownNameError, "no weights 'second'"),
        ("raw", "new.safetensors", None, UsageError, "Name the published weights of 'raw'.*it has none"),
        ("raw", "new.safetensors", "first.pth", UsageError, "it has none"),
        ("pair", "new.safetensors", None, UsageError, "has 2 files"),
        ("net", "new.safetensors", "nowhere.pth", WeightsError, r"no weights file nowhere\.pth"),
        ("net", "new.safetensors", "two.pth", WeightsError, r"two\.pth has no 'net\.state'"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(
    name: str, output: str, weights: str | None, error: type[OmlabError], message: str
) -> None:
    Path("there.safetensors").write_bytes(b"mine")
    torch.save({"model": STATE, "average": STATE}, "two.pth")
    with pytest.raises(error, match=message):
        convert(name, output, weights=weights)
    assert Path("there.safetensors").read_bytes() == b"mine"
    assert not Path("new.safetensors").exists()


def test_the_command_says_size_and_sha256(published: Path) -> None:
    done = CliRunner().invoke(command, ["convert", "net.first", "-o", "net.safetensors"], catch_exceptions=False)
    assert done.exit_code == 0
    path = Path("net.safetensors")
    assert f"{path}: 2 tensors, {path.stat().st_size} bytes" in done.output
    assert f"sha256 {file_digest(path)}" in done.output

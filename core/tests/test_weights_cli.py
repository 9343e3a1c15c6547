"""`omlab weights`, as a user types it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from omlab import registry as registry_module
from omlab import weights as store
from omlab.card_schema import WeightsFile
from omlab.cards import Card
from omlab.cli.weights import app
from omlab.errors import UnknownNameError, UsageError, WeightsError

BODY = b"weights" * 100


def model(name: str, **weights: object) -> Card:
    data = {
        "name": name,
        "summary": "A network.",
        "entry": "net.model:load",
        "licence": "Apache-2.0",
        "takes": "volume",
        "gives": "labelmap",
        "task": "segmentation",
        "intended_use": "Tests.",
        "limits": "All.",
        "citation": "None.",
        "weights": weights,
    }
    return Card(kind="model", name=name, summary="A network.", data=data, source="test")


def tag(url: str, *, sha256: str | None = None) -> dict[str, object]:
    file = {"name": "w.bin", "url": url, "approximate_size": 5_000_000, "wrapper": ""}
    return {"summary": "Weights.", "licence": "CC BY 4.0", "files": [file | ({"sha256": sha256} if sha256 else {})]}


class Offers:
    """Stands for the registry of an environment with two models."""

    def __init__(self, cards: list[Card]) -> None:
        self._cards = {card.name: card for card in cards}

    def cards(self, kind: str) -> list[Card]:
        assert kind == "model"
        return list(self._cards.values())

    def get(self, kind: str, name: str) -> Card:
        if name not in self._cards:
            raise UnknownNameError(f"There is no {kind} '{name}'.")
        return self._cards[name]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMLAB_OFFLINE", "1")
    (tmp_path / "local.bin").write_bytes(BODY)
    sha256 = hashlib.sha256(BODY).hexdigest()
    cards = [
        model(
            "net",
            web=tag("https://example.org/w.bin", sha256=sha256),
            local=tag((tmp_path / "local.bin").as_uri()),
        ),
        model("bare"),
        Card(kind="model", name="wrong", summary="x", data={"name": "wrong"}, source="wrong/cards.toml"),
    ]
    monkeypatch.setattr(registry_module, "registry", lambda: Offers(cards))

    def call(*arguments: str, text: str = "") -> Any:
        return CliRunner().invoke(app, list(arguments), input=text)

    return call


def cached_file() -> Path:
    file = WeightsFile.model_validate(
        tag("https://example.org/w.bin", sha256=hashlib.sha256(BODY).hexdigest())["files"][0]  # type: ignore[index]
    )
    return store.place(file)


def put_in_cache() -> Path:
    path = cached_file()
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    return path


def test_list(run: Callable[..., Any]) -> None:
    shown = run("list")
    assert shown.exit_code == 0
    for word in ("net.web", "net.local", "~5.0 MB", "CC BY 4.0", "yes", "no", "wrong/cards.toml"):
        assert word in shown.output
    rows = json.loads(run("list", "--json").stdout)
    assert [(row["tag"], row["cached"]) for row in rows["weights"]] == [("web", False), ("local", True)]
    assert len(rows["broken"]) == 1


def test_path_fetch_and_remove(run: Callable[..., Any]) -> None:
    error = run("path", "net.web").exception
    assert isinstance(error, WeightsError)
    assert "omlab weights fetch net.web" in str(error)
    path = put_in_cache()
    assert run("path", "net.web").stdout.strip() == str(path)
    assert run("fetch", "net.web").stdout.strip() == str(path)
    assert len(run("path", "net").stdout.split()) == 2
    assert run("remove", "net.web", text="n\n").exit_code == 0
    assert path.exists()
    assert "Removed w.bin of net.web" in run("remove", "net.web", "--yes").stdout
    assert not path.exists()
    assert "Nothing of net.web" in run("remove", "net.web").stdout


def test_verify(run: Callable[..., Any]) -> None:
    path = put_in_cache()
    assert run("verify").exit_code == 0
    path.write_bytes(BODY[:-1] + b"!")
    damaged = run("verify", "net.web")
    assert damaged.exit_code == 1
    assert "net.web" in damaged.stderr
    assert "damaged or changed" in damaged.stderr


def test_unknown_names(run: Callable[..., Any]) -> None:
    assert isinstance(run("fetch", "nett").exception, UnknownNameError)
    assert "did you mean 'web'?" in str(run("fetch", "net.webb").exception)
    assert isinstance(run("fetch", "bare").exception, UsageError)


def test_importing_is_cheap() -> None:
    code = (
        "import sys, omlab.weights, omlab.cli.weights\n"
        "print([m for m in ('torch', 'numpy', 'rich', 'safetensors', 'filelock') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

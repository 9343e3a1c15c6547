"""`omlab weights`, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from omlab import registry as registry_module
from omlab import weights as store
from omlab.card_schema import WeightsFile
from omlab.cards import Card
from omlab.cli.weights import weights
from omlab.errors import DownloadError, UnknownNameError, UsageError, WeightsError
from omlab.weights import snapshot

from .making import card_data, sha256
from .serving import Resource, Server

BODY = b"weights" * 100
WEB = "https://example.org/w.bin"
REPOSITORY = "hf://owner/repo@v1"

Run = Callable[..., Any]


def files(url: str, **facts: object) -> dict[str, Any]:
    return {"files": [{"name": "w.bin", "url": url, "approximate_size": 5_000_000, **facts}]}


class Offers:
    """Stands for the registry of an environment with these model cards."""

    def __init__(self, *cards: dict[str, Any]) -> None:
        self.data = {data["name"]: data for data in cards}

    def cards(self, kind: str) -> list[Card]:
        assert kind == "model"
        return [self.get(kind, name) for name in self.data]

    def get(self, kind: str, name: str) -> Card:
        if name not in self.data:
            raise UnknownNameError(f"There is no {kind} '{name}'.")
        return Card(kind="model", name=name, summary="A network.", data=self.data[name], source="cards.toml")


@pytest.fixture
def offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offers:
    (tmp_path / "local.bin").write_bytes(BODY)
    found = Offers(
        card_data("net", web=files(WEB, sha256=sha256(BODY)), local=files((tmp_path / "local.bin").as_uri())),
        card_data("chat", default="remote", remote={"endpoint": "https://chat.example.org"}),
        card_data("big", default="all", needs={"encoder": "net.web"}, all={"repository": REPOSITORY}),
        card_data("bare"),
        {"name": "wrong"},
    )
    monkeypatch.setattr(registry_module, "registry", lambda: found)
    monkeypatch.setenv("OMLAB_OFFLINE", "1")
    return found


@pytest.fixture
def run(offers: Offers) -> Run:
    def call(*arguments: str, text: str = "") -> Any:
        return CliRunner().invoke(weights, list(arguments), input=text)

    return call


def put_file() -> Path:
    """The file of net.web, in the cache."""
    file = WeightsFile.model_validate(files(WEB, sha256=sha256(BODY))["files"][0])
    path = store.place(file)
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    return path


def put_folder() -> Path:
    """The repository of big.all, in the cache."""
    content = snapshot.place(REPOSITORY).parent / "new"
    content.mkdir(parents=True)
    (content / "a.json").write_bytes(b"{}")
    return snapshot.keep(REPOSITORY, content, commit="c" * 40, sha256={"a.json": sha256(b"{}")}).folder


def test_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = run("list")
    assert shown.exit_code == 0
    for word in ("net.web", "net.local", "~5.0 MB", "CC0-1.0", "chat.remote", "remote", "owner/repo", "cards.toml"):
        assert word in shown.output
    told = json.loads(run("list", "--json").stdout)
    assert [(row["model"], row["tag"], row["kind"], row["cached"]) for row in told["weights"]] == [
        ("net", "web", "file", False),
        ("net", "local", "file", True),
        ("chat", "remote", "endpoint", False),
        ("big", "all", "repository", False),
    ]
    assert len(told["broken"]) == 1
    folder = put_folder()
    row = json.loads(run("list", "--json").stdout)["weights"][3]
    assert (row["cached"], row["size"], row["path"]) == (True, 2, str(folder))


def test_weights_in_a_folder_for_people_are_listed_and_not_fetched(
    run: Run, offers: Offers, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "https://drive.google.com/drive/folders/1mt5suOG9RkVg4lV85_RMnJ5dZTm_tRo2"
    offers.data["net"] = card_data("net", web=files(address))
    assert address in [row["url"] for row in json.loads(run("list", "--json").stdout)["weights"]]
    monkeypatch.delenv("OMLAB_OFFLINE")
    assert "is a Google Drive folder" in str(run("fetch", "net.web").exception)


def test_path_fetch_and_remove(run: Run) -> None:
    error = run("path", "net.web").exception
    assert isinstance(error, WeightsError)
    assert "omlab weights fetch net.web" in str(error)
    path = put_file()
    assert run("path", "net.web").stdout.strip() == str(path)
    assert run("fetch", "net.web").stdout.strip() == str(path)
    assert json.loads(run("fetch", "net.web", "--json").stdout) == [
        {"weights": "net.web", "file": "w.bin", "path": str(path)}
    ]
    assert len(run("path", "net").stdout.split()) == 2
    assert run("remove", "net.web", text="n\n").exit_code == 0
    assert path.exists()
    assert "Removed w.bin of net.web" in run("remove", "net.web", "--yes").stdout
    assert not path.exists()
    assert "Nothing of net.web" in run("remove", "net.web").stdout


def test_a_repository_is_handled_like_a_file(run: Run) -> None:
    assert isinstance(run("fetch", "big").exception, DownloadError)
    folder = put_folder()
    assert run("fetch", "big").stdout.strip() == run("path", "big").stdout.strip() == str(folder)
    assert "is whole" in run("verify", "big").stdout
    (folder / "a.json").write_bytes(b"[]")
    assert run("verify").exit_code == 1
    assert "Removed owner/repo of big.all" in run("remove", "big", "-y").stdout
    assert not folder.exists()


def test_verify(run: Run) -> None:
    assert "net.local" in run("verify").stdout
    path = put_file()
    whole = json.loads(run("verify", "--json").stdout)
    assert [(row["weights"], row["whole"]) for row in whole] == [("net.web", True), ("net.local", True)]
    path.write_bytes(BODY[:-1] + b"!")
    damaged = run("verify", "net.web")
    assert damaged.exit_code == 1
    assert "net.web" in damaged.stderr
    assert "damaged or changed" in damaged.stderr
    assert [row["whole"] for row in json.loads(run("verify", "--json").stdout)] == [False, True]


def test_names_that_are_unknown_or_have_nothing_here(run: Run) -> None:
    assert isinstance(run("fetch", "nett").exception, UnknownNameError)
    assert "did you mean 'web'?" in str(run("fetch", "net.webb").exception)
    assert isinstance(run("fetch", "bare").exception, UsageError)
    for command in ("fetch", "path", "verify", "remove"):
        assert "chat.remote answers at https://chat.example.org" in str(run(command, "chat").exception), command


def test_export_and_import(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offers: Offers) -> None:
    put_file()
    put_folder()
    bundle = tmp_path / "b.tar"
    shown = run("export", "big", "big.all", "-o", str(bundle))
    assert shown.exit_code == 0, shown.exception
    assert "net.web: w.bin. Licence: CC0-1.0" in shown.stdout, "what a model needs is exported with it"
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "elsewhere"))
    shown = run("import", str(bundle))
    assert shown.exit_code == 0, shown.exception
    assert run("path", "big").stdout.strip() in shown.stdout
    assert run("path", "net.web").stdout.strip() in shown.stdout
    assert "Licence: CC0-1.0" in shown.stdout
    assert shown.stderr == ""
    told = json.loads(run("import", str(bundle), "--json").stdout)
    assert [(row["model"], row["was_there"], row["used"]) for row in told] == [("big", True, True), ("net", True, True)]
    del offers.data["big"]
    assert "no installed model asks for big.all" in run("import", str(bundle)).stderr


def test_check_links(run: Run, offers: Offers, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "OMLAB_OFFLINE" in str(run("check-links").exception)
    monkeypatch.delenv("OMLAB_OFFLINE")
    monkeypatch.setenv("OMLAB_DRIVE_URL", server.url)
    drive = "https://drive.google.com/file/d/1HReH6dDrEuXgHPrsw7OrHSjvEUF3f4mv/view"
    offers.data = {"net": card_data("net", web=files(drive, size=len(BODY))), "chat": offers.data["chat"]}
    server.resources["/download"] = Resource(body=BODY)
    shown = run("check-links")
    assert (shown.exit_code, shown.stdout.split()) == (0, ["ok", "net.web", "w.bin", drive])
    server.resources["/download"] = Resource(body=BODY[1:])
    assert run("check-links", "net.web").exit_code == 1
    server.resources.clear()
    shown = run("check-links", "--json")
    assert shown.exit_code == 1
    assert [link["state"] for link in json.loads(shown.stdout)] == ["gone"]


def test_help_fits_eighty_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in ([], *([name] for name in weights.commands)):
        shown = run(*command, "--help").stdout
        assert max(map(len, shown.splitlines())) <= 80
        assert "..." not in shown.replace("NAME...", "").replace("[ARGS]...", ""), f"{command}: a help is cut"


def test_importing_is_cheap() -> None:
    code = (
        "import sys, omlab.weights, omlab.cli.weights\n"
        "heavy = ('torch', 'numpy', 'rich', 'safetensors', 'filelock', 'pydantic', 'http.client', 'ssl', 'fcntl')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

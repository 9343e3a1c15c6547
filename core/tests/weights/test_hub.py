"""The Hugging Face Hub, through its own library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omlab import weights
from omlab.errors import DownloadError

from .making import FETCH, described, leftovers
from .serving import BODY, Resource, Server


def test_hub_files_enter_the_same_cache(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked: list[tuple[object, ...]] = []

    def fake(
        repo_id: str, filename: str, *, revision: str | None, local_dir: Path, tqdm_class: type, endpoint: str | None
    ) -> str:
        asked.append((repo_id, filename, revision))
        target = Path(local_dir) / filename
        target.parent.mkdir(parents=True)
        with tqdm_class(total=len(BODY), initial=0, unit="B", name="x") as bar:
            target.write_bytes(BODY)
            bar.update(len(BODY))
        return str(target)

    monkeypatch.setattr(hub, "hf_hub_download", fake)
    file = described("hf://owner/repo/sub/w.bin@v1")
    assert weights.fetch(file).read_bytes() == BODY
    assert asked == [("owner/repo", "sub/w.bin", "v1")]
    assert leftovers(cache) == ["w.bin"]

    def fail(*_: object, **__: object) -> str:
        raise OSError("cannot reach the Hub\nlong story")

    monkeypatch.setattr(hub, "hf_hub_download", fail)
    with pytest.raises(DownloadError, match=r"cannot be fetched from hf://o/r/w.bin: cannot reach the Hub\.$"):
        weights.fetch(described("hf://o/r/w.bin"))


def test_the_real_hub_library_against_a_server(server: Server) -> None:
    pytest.importorskip("huggingface_hub")
    commit = {"X-Repo-Commit": "0123456789abcdef0123456789abcdef01234567"}
    server.resources["/owner/repo/resolve/v1/sub/w.bin"] = Resource(etag='"abc"', headers=commit)
    file = described("hf://owner/repo/sub/w.bin@v1")
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    arguments = [sys.executable, "-c", FETCH, file.name, file.url, str(file.size), str(file.sha256)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert weights.fetch(file, offline=True).read_bytes() == BODY
    missing = subprocess.run(
        [*arguments[:4], "hf://owner/repo/none.bin@v1", *arguments[5:]],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert "DownloadError" in missing.stderr.splitlines()[-1]


def test_a_hub_library_before_1_0_will_do(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def fake(repo_id: str, filename: str, *, revision: str | None, local_dir: Path, endpoint: str | None) -> str:
        if filename == "none.bin":
            raise hub.errors.EntryNotFoundError("404")
        if filename == "far.bin":
            raise hub.errors.LocalEntryNotFoundError("cannot reach the Hub")
        Path(local_dir).mkdir(exist_ok=True)
        target = Path(local_dir) / filename
        target.write_bytes(BODY)
        return str(target)

    monkeypatch.setattr(hub, "hf_hub_download", fake)
    monkeypatch.delattr(hub.errors, "RemoteEntryNotFoundError", raising=False)
    assert weights.fetch(described("hf://owner/repo/w.bin")).read_bytes() == BODY
    with pytest.raises(DownloadError, match="There is no public file"):
        weights.fetch(described("hf://o/r/none.bin"))
    with pytest.raises(DownloadError, match="cannot reach the Hub"):
        weights.fetch(described("hf://o/r/far.bin"))


def test_what_the_hub_library_logs_of_its_retries_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    from huggingface_hub.utils import logging

    def fail(*_: object, **__: object) -> str:
        logging.get_logger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
        raise OSError("cannot reach the Hub")

    before = logging.get_verbosity()
    monkeypatch.setattr(hub, "hf_hub_download", fail)
    with pytest.raises(DownloadError):
        weights.fetch(described("hf://o/r/w.bin"))
    assert "Retrying" not in capfd.readouterr().err
    assert logging.get_verbosity() == before


def test_hub_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from omlab.errors import MissingDependencyError

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"install omlab-core\[hub\]"):
        weights.fetch(described("hf://o/r/w.bin"))

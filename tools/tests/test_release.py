"""A release from first to last, on a repository of two tiny packages; what is refused, and why."""

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tools import release, released, workspace

PYPROJECT = """\
[build-system]
requires = ["uv_build"]
build-backend = "uv_build"

[project]
name = "{name}"
version = "0.1.0"
description = "Tiny."
readme = "README.md"
requires-python = ">=3.11"
license = "Apache-2.0"
license-files = ["LICENSE"]
dependencies = {dependencies}

[tool.hatch.build.targets.wheel]
packages = ["src/{module}"]

[tool.towncrier]
package = "{module}"
directory = "changes"
filename = "CHANGELOG.md"
"""
"""As that of a real package, but built by uv itself: nothing is fetched for it."""
ROOT = """\
[tool.uv]
constraint-dependencies = []
[tool.uv.workspace]
members = ["packages/*"]
"""
CHANGELOG = "# Changelog\n\n<!-- towncrier release notes start -->\n"

Act = Callable[..., tuple[int, str]]


def write_package(root: Path, name: str, *, dependencies: str = "[]") -> Path:
    folder, module = root / "packages" / name, name.replace("-", "_")
    files = {
        "pyproject.toml": PYPROJECT.format(name=name, module=module, dependencies=dependencies),
        "README.md": "Tiny.\n",
        "LICENSE": "Apache-2.0\n",
        "CHANGELOG.md": CHANGELOG,
        "changes/+first.feature.md": "It is there.\n",
        f"src/{module}/__init__.py": '__version__ = "0.1.0"\n',
        f"src/{module}/py.typed": "",
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """omlab-net, which needs omlab-base; all that the tools do is done there."""
    root = tmp_path / "repository"
    write_package(root, "omlab-base")
    write_package(root, "omlab-net", dependencies='["omlab-base>=0.1,<1"]')
    (root / "pyproject.toml").write_text(ROOT)
    monkeypatch.setattr(workspace, "ROOT", root)
    for name, value in (("GIT_CONFIG_GLOBAL", os.devnull), ("GIT_CONFIG_SYSTEM", os.devnull)):
        monkeypatch.setenv(name, value)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "A maintainer")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "maintainer@localhost")
    workspace.git("init", "--quiet")
    commit("Begin")
    yield root
    forget()


@pytest.fixture
def act(repository: Path, capfd: pytest.CaptureFixture[str]) -> Act:
    """`python -m tools.release ...`: its exit status, and what it said."""

    def run(*words: object) -> tuple[int, str]:
        forget()
        capfd.readouterr()
        status = release.main([str(word) for word in words])
        out, err = capfd.readouterr()
        return status, out + err

    return run


def forget() -> None:
    workspace.packages.cache_clear()
    workspace._excluded.cache_clear()


def commit(message: str) -> None:
    workspace.git("add", "--all")
    workspace.git("commit", "--quiet", "--message", message)


def put_out(act: Act, name: str, version: str = "0.1.0") -> None:
    """Bump, commit and tag."""
    assert act("bump", name, version)[0] == 0
    commit(f"Release {name} {version}")
    assert act("tag", name) == (0, f"omlab-{name}-v{version}\n")


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """The address of a server that takes uploads, and what it got: who sent it, and the body."""
    got: list[tuple[str, bytes]] = []

    class Uploads(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((base64.b64decode(self.headers["Authorization"].split()[1]).decode(), body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Uploads) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/", got
        listening.shutdown()


def test_a_changelog_has_one_title_and_an_entry_below_it_for_each_version(act: Act, repository: Path) -> None:
    folder = repository / "packages" / "omlab-base"
    for version in ("0.2.0", "0.3.0"):
        (folder / "changes").mkdir(exist_ok=True)  # git keeps no empty folder
        (folder / "changes" / "+more.feature.md").write_text(f"What {version} brought.\n")
        commit("Tell")
        assert act("bump", "base", version)[0] == 0
        commit("Release")
    lines = (folder / "CHANGELOG.md").read_text().splitlines()
    headings = [line.partition(" (")[0] for line in lines if line.startswith("#")]
    new = "### Features"
    assert headings == ["# Changelog", "## omlab-base 0.3.0", new, "## omlab-base 0.2.0", new]
    assert [line for line in lines if "brought" in line] == ["- What 0.3.0 brought.", "- What 0.2.0 brought."]


def test_a_release_from_first_to_last(
    act: Act,
    repository: Path,
    tmp_path: Path,
    server: tuple[str, list[tuple[str, bytes]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_out(act, "base")
    assert act("bump", "net", "0.2.0")[0] == 0
    folder = repository / "packages" / "omlab-net"
    assert '__version__ = "0.2.0"' in (folder / "src" / "omlab_net" / "__init__.py").read_text()
    assert "It is there." in (folder / "CHANGELOG.md").read_text()
    assert list((folder / "changes").glob("*.md")) == []
    commit("Release net")
    assert act("check", "net") == (0, "")
    assert act("tag", "net") == (0, "omlab-net-v0.2.0\n")

    dist = tmp_path / "dist"
    status, said = act("build", "omlab-net-v0.2.0", dist)
    assert status == 0
    assert [Path(line).name for line in said.splitlines()] == [
        "omlab_net-0.2.0-py3-none-any.whl",
        "omlab_net-0.2.0.tar.gz",
    ]
    assert act("check-dist", dist) == (0, "")

    address, got = server
    assert act("publish", dist)[1].startswith("UV_PUBLISH_URL is not set")
    monkeypatch.setenv("UV_PUBLISH_URL", address)
    assert act("publish", dist)[1].startswith("UV_PUBLISH_TOKEN is not set")
    monkeypatch.setenv("UV_PUBLISH_TOKEN", "a-token")
    assert act("publish", dist)[0] == 0
    assert [who for who, _ in got] == ["__token__:a-token"] * 2
    assert all(b"omlab_net-0.2.0" in body for _, body in got)


def test_what_is_built_is_what_was_tagged(act: Act, repository: Path, tmp_path: Path) -> None:
    put_out(act, "base")
    init = repository / "packages" / "omlab-base" / "src" / "omlab_base" / "__init__.py"
    init.write_text(init.read_text() + "LATER = True\n")
    net = next(package for package in workspace.packages() if package.name == "omlab-net")
    others = released.siblings(net, folder=tmp_path / "wheels")
    assert others.unreleased == []
    wheel = others.released["omlab-base"]
    tried = [sys.executable, "-c", "import omlab_base; print(omlab_base.__file__); omlab_base.LATER"]
    done = subprocess.run(tried, env={"PYTHONPATH": str(wheel)}, capture_output=True, text=True)
    assert str(wheel) in done.stdout
    assert "has no attribute 'LATER'" in done.stderr


def test_a_sibling_without_a_release_is_refused(act: Act, repository: Path, tmp_path: Path) -> None:
    act("bump", "net", "0.1.0")
    commit("Release net")
    refusal = "omlab-net needs omlab-base<1,>=0.1, which has no release: release that first."
    assert act("tag", "net") == (1, f"{refusal}\n")
    net = next(package for package in workspace.packages() if package.name == "omlab-net")
    with pytest.raises(ValueError, match=refusal):
        released.siblings(net, folder=tmp_path / "wheels")
    assert workspace.git("tag", "--list") == []


def test_a_sibling_that_was_last_released_too_long_ago_is_refused(act: Act, repository: Path) -> None:
    put_out(act, "base")
    path = repository / "packages" / "omlab-net" / "pyproject.toml"
    path.write_text(path.read_text().replace("omlab-base>=0.1", "omlab-base>=0.2"))
    commit("Need more")
    act("bump", "net", "0.1.0")
    commit("Release net")
    assert "which was last released as 0.1.0" in act("check", "net")[1]


def test_a_tree_with_changes_is_refused(act: Act, repository: Path) -> None:
    (repository / "notes.txt").write_text("Later.\n")
    assert act("bump", "base", "0.1.0") == (
        1,
        "There are changes that are not committed, such as notes.txt: commit or remove them.\n",
    )
    (repository / "notes.txt").unlink()
    act("bump", "base", "0.1.0")
    assert "not committed, such as packages/omlab-base/CHANGELOG.md" in act("tag", "base")[1]


def test_a_stale_version_is_refused(act: Act, repository: Path) -> None:
    act("bump", "base", "0.1.0")
    init = repository / "packages" / "omlab-base" / "src" / "omlab_base" / "__init__.py"
    init.write_text('__version__ = "0.0.9"\n')
    commit("Release base")
    assert act("tag", "base") == (1, "'omlab-base-v0.1.0' says 0.1.0, but omlab-base's __init__.py says 0.0.9.\n")


def test_a_changelog_that_does_not_know_the_version_is_refused(act: Act, repository: Path) -> None:
    status, said = act("check", "base")
    assert status == 1
    assert "CHANGELOG.md has no entry for 0.1.0" in said
    assert "changes/ has what no release tells of" in said
    changelog = repository / "packages" / "omlab-base" / "CHANGELOG.md"
    changelog.write_text(CHANGELOG + "\n# omlab-base 10.1.0 (2026-01-01)\n\n# omlab-base 0.1.0rc1\n")
    assert "has no entry for 0.1.0" in act("check", "base")[1]


def test_what_is_released_is_not_released_again(act: Act, repository: Path) -> None:
    put_out(act, "base")
    assert act("tag", "base")[1].startswith("The tag omlab-base-v0.1.0 is there already")
    assert act("bump", "base", "0.1.0")[1].startswith("omlab-base 0.1.0 is released already")
    assert act("bump", "base", "0.2.0")[1].startswith("omlab-base has nothing in changes/")


def test_core_is_not_released_without_frozen_models(act: Act, repository: Path) -> None:
    write_package(repository, "omlab-core")
    (repository / "packages" / "omlab-core").rename(repository / "core")
    commit("Add core")
    act("bump", "core", "99.0.0")
    commit("Release core")
    assert "omlab-core 99.0.0 has no frozen adapted models" in act("tag", "core")[1]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("build", "v1.0", "dist"), "is not NAME-vVERSION"),
        (("build", "omlab-nothing-v1.0.0", "dist"), "is not in this repository"),
        (("build", "omlab-base-v99.0.0", "dist"), "pyproject.toml says 0.1.0"),
        (("bump", "base", "next"), "'next' is not a version such as 1.2.0"),
        (("tag", "nothing"), "There is no package 'omlab-nothing'"),
        (("publish", "nowhere"), "UV_PUBLISH_URL is not set"),
        (("check-dist", "nowhere"), "holds no distribution"),
    ],
)
def test_a_wrong_name_is_explained(act: Act, words: tuple[str, ...], fault: str) -> None:
    status, said = act(*words)
    assert status == 1
    assert fault in said

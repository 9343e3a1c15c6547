"""Releases: `python -m tools.release ACTION ...`; docs/releasing.md is the recipe.

A tag is NAME-vVERSION (`omlab-stunet-v1.2.0`). Nothing is tagged that would not hold: an old `__version__`, a changelog
without the version, a sibling that is not released, a tree with changes. Each distribution is checked as a user gets
it: its metadata, its licence, its py.typed marker.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from email.parser import Parser
from pathlib import Path

from packaging.version import Version

from tools import frozen, released
from tools.changelog import STARTS
from tools.workspace import Package, git, packages

TAG = re.compile(r"(?P<name>[a-z0-9-]+)-v(?P<version>\d+\.\d+\.\d+((a|b|rc)\d+)?)")
PUBLISHING = ("UV_PUBLISH_URL", "UV_PUBLISH_TOKEN")
"""Where to publish, and the right to: given by the environment alone."""


def bump(package: Package, version: str) -> None:
    """Give `package` a version and turn its fragments of the changelog into an entry.

    Raises `ValueError` where there are changes that are not committed, nothing to tell, or a version that is not new.
    """
    if TAG.fullmatch(f"{package.name}-v{version}") is None:
        raise ValueError(f"'{version}' is not a version such as 1.2.0.")
    last = released.latest(package.name)
    if last is not None and Version(version) <= last:
        raise ValueError(f"{package.name} {last} is released already: {version} would not come after it.")
    if not _fragments(package):
        raise ValueError(f"{package.name} has nothing in changes/: there is nothing to release.")
    _refuse(unclean())
    changelog = package.folder / "CHANGELOG.md"
    older = _entries(changelog)
    towncrier = [sys.executable, "-m", "towncrier", "build", "--yes", "--version", version]
    done = subprocess.run(towncrier, cwd=package.folder, check=False, capture_output=True, text=True)  # noqa: S603 - fixed program, arguments of ours
    if done.returncode:
        raise ValueError(f"The changelog cannot be written: {done.stderr.strip()}")
    _below_the_title(changelog, older=older, package=package)
    init = package.folder / "src" / package.module / "__init__.py"
    for path, name in ((package.folder / "pyproject.toml", "version"), (init, "__version__")):
        text = path.read_text(encoding="utf-8")
        text = re.sub(rf'^{name} = ".*"$', f'{name} = "{version}"', text, count=1, flags=re.MULTILINE)
        path.write_text(text, encoding="utf-8")


def _entries(changelog: Path) -> str:
    return changelog.read_text(encoding="utf-8").partition(STARTS)[2]


def _below_the_title(changelog: Path, *, older: str, package: Package) -> None:
    """Put the headings of the new entry below the file's title, and call it by the package, not by its module."""
    head, mark, entries = changelog.read_text(encoding="utf-8").partition(STARTS)
    entry = entries.removesuffix(older.lstrip("\n")) if older.strip() else entries
    lines = [f"#{line}" if line.startswith("#") else line for line in entry.splitlines(keepends=True)]
    text = "".join(lines).replace(f"## {package.module} ", f"## {package.name} ", 1)
    changelog.write_text(head + mark + text + entries[len(entry) :], encoding="utf-8")


def tag_faults(tag: str) -> Iterator[str]:
    """What is wrong with releasing `tag` from this checkout, whether or not it is there."""
    match = TAG.fullmatch(tag)
    if match is None:
        yield f"'{tag}' is not NAME-vVERSION, such as omlab-stunet-v1.2.0."
        return
    package = {package.name: package for package in packages()}.get(match["name"])
    if package is None:
        yield f"'{tag}' names the package {match['name']}, which is not in this repository."
        return
    version = match["version"]
    for stated, where in ((package.version, "pyproject.toml"), (package.stated_version, "__init__.py")):
        if stated != version:
            yield f"'{tag}' says {version}, but {package.name}'s {where} says {stated}."
    changelog = (package.folder / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^#.*(?<![\w.]){re.escape(version)}(?![\w.])", changelog, flags=re.MULTILINE):
        yield f"{package.name}'s CHANGELOG.md has no entry for {version}: python -m tools.release bump writes it."
    if _fragments(package):
        yield f"{package.name}'s changes/ has what no release tells of: python -m tools.release bump moves it."
    yield from released.unmet(package)
    yield from frozen.missing(package.name, version)


def unclean() -> Iterator[str]:
    """That there are changes which are not committed."""
    changes = git("status", "--porcelain")
    if changes:
        yield f"There are changes that are not committed, such as {changes[0][3:]}: commit or remove them."


def new_tag_faults(tag: str) -> Iterator[str]:
    """What is wrong with making `tag` here and now."""
    if git("tag", "--list", tag):
        yield f"The tag {tag} is there already: what is released stays as it is."
    yield from unclean()
    yield from tag_faults(tag)


def make_tag(package: Package) -> str:
    """Tag this commit as the release of the package's version. Raises `ValueError` with all that is wrong."""
    tag = _tag_of(package)
    _refuse(new_tag_faults(tag))
    git("tag", "--annotate", tag, "--message", f"{package.name} {package.version}")
    return tag


def publish(folder: Path) -> None:
    """Send the distributions in `folder` to the address in the environment. Raises `ValueError`."""
    for name in PUBLISHING:
        if not os.environ.get(name):
            raise ValueError(f"{name} is not set: publishing takes the address and the token from the environment.")
    _refuse(dist_faults(folder))
    files = sorted(str(path) for path in folder.glob("omlab_*"))
    done = subprocess.run(["uv", "publish", *files], check=False)  # noqa: S603, S607 - fixed program, arguments of ours
    if done.returncode:
        raise ValueError("Publishing stopped; start it again with the same files.")


def dist_faults(folder: Path) -> Iterator[str]:
    """What is wrong with the wheels and source distributions in `folder`."""
    built = {package.name.replace("-", "_"): package for package in packages()}
    files = sorted(folder.glob("omlab_*"))
    if not files:
        yield f"{folder} holds no distribution."
    for path in files:
        package = built[path.name.split("-")[0]]
        names, metadata = _wheel(path) if path.suffix == ".whl" else _sdist(path)
        for fault in _faults(package, names, metadata):
            yield f"{path.name}: {fault}"


def _faults(package: Package, names: list[str], metadata: str) -> Iterator[str]:
    fields = Parser().parsestr(metadata)
    if fields["Version"] != package.version:
        yield f"version {fields['Version']}, but pyproject.toml says {package.version}."
    if fields["License-Expression"] != "Apache-2.0" or not any(name.endswith("LICENSE") for name in names):
        yield "the licence expression or the LICENSE file is missing."
    if not any(name.endswith(f"{package.module}/py.typed") for name in names):
        yield f"{package.module}/py.typed is missing."
    if fields["Requires-Python"] is None or not fields.get_payload():
        yield "requires-python or the description (README.md) is missing."


def _wheel(path: Path) -> tuple[list[str], str]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        return names, archive.read(metadata).decode("utf-8")


def _sdist(path: Path) -> tuple[list[str], str]:
    with tarfile.open(path) as archive:
        names = archive.getnames()
        stream = archive.extractfile(f"{path.name.removesuffix('.tar.gz')}/PKG-INFO")
        return names, stream.read().decode("utf-8") if stream else ""


def _refuse(faults: Iterable[str]) -> None:
    """Raise `ValueError` with all that is wrong, where something is."""
    sentences = list(faults)
    if sentences:
        raise ValueError("\n".join(sentences))


def _tag_of(package: Package) -> str:
    return f"{package.name}-v{package.version}"


def _fragments(package: Package) -> list[Path]:
    return sorted((package.folder / "changes").glob("*.md"))


def _named(name: str) -> Package:
    full = name if name.startswith("omlab-") else f"omlab-{name}"
    package = {package.name: package for package in packages()}.get(full)
    if package is None:
        raise ValueError(f"There is no package '{full}' in this repository.")
    return package


def _build(tag: str, folder: Path) -> None:
    _refuse(tag_faults(tag))
    released.build(_named(tag.rpartition("-v")[0]), tag, folder=folder)
    for path in sorted(folder.glob("omlab_*")):
        print(path)


def main(words: list[str] | None = None) -> int:
    """Do what is asked; 1, with what is wrong, where that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    bumping = actions.add_parser("bump", help="set the version of a package and write its changelog")
    bumping.add_argument("package")
    bumping.add_argument("version")
    for name, what in (("check", "say what keeps a package from being tagged"), ("tag", "tag this commit")):
        actions.add_parser(name, help=what).add_argument("package")
    building = actions.add_parser("build", help="the distributions of a tag")
    building.add_argument("tag")
    building.add_argument("folder", type=Path)
    for name, what in (("check-dist", "check built distributions"), ("publish", "send them")):
        actions.add_parser(name, help=what).add_argument("folder", type=Path)
    asked = parser.parse_args(words)
    do: dict[str, Callable[[], object]] = {
        "bump": lambda: bump(_named(asked.package), asked.version),
        "check": lambda: _refuse(new_tag_faults(_tag_of(_named(asked.package)))),
        "tag": lambda: print(make_tag(_named(asked.package))),
        "build": lambda: _build(asked.tag, asked.folder),
        "check-dist": lambda: _refuse(dist_faults(asked.folder)),
        "publish": lambda: publish(asked.folder),
    }
    try:
        do[asked.action]()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a release must be: `python -m tools.release check-tag TAG` and `check-dist FOLDER`.

A tag is NAME-vVERSION (`omlab-stunet-v1.2.0`). Each distribution in the folder is checked as a user
gets it: its metadata, its licence, its py.typed marker, and a changelog that knows the version.
"""

from __future__ import annotations

import argparse
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

from tools.workspace import Package, packages


def tag_faults(tag: str) -> Iterator[str]:
    """What is wrong with releasing `tag` from this checkout."""
    match = re.fullmatch(r"(?P<name>[a-z0-9-]+)-v(?P<version>\d+\.\d+\.\d+\w*)", tag)
    if match is None:
        yield f"'{tag}' is not NAME-vVERSION, such as omlab-stunet-v1.2.0."
        return
    package = {package.name: package for package in packages()}.get(match["name"])
    if package is None:
        yield f"'{tag}' names the package {match['name']}, which is not in this repository."
        return
    if package.version != match["version"]:
        yield f"'{tag}' says {match['version']}, but {package.name}'s pyproject.toml says {package.version}."
    if match["version"] not in (package.folder / "CHANGELOG.md").read_text(encoding="utf-8"):
        yield f"{package.name}'s CHANGELOG.md has no entry for {match['version']}: run towncrier build there."


def dist_faults(folder: Path) -> Iterator[str]:
    """What is wrong with the wheels and source distributions in `folder`."""
    built = {package.name.replace("-", "_"): package for package in packages()}
    files = sorted(path for path in folder.iterdir() if path.name.startswith("omlab_"))
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


def main() -> int:
    """Print every fault; 1 where there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["check-tag", "check-dist"])
    parser.add_argument("subject", help="the tag, or the folder")
    asked = parser.parse_args()
    found = tag_faults(asked.subject) if asked.action == "check-tag" else dist_faults(Path(asked.subject))
    faults = list(found)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

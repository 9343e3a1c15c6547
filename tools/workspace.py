"""The packages of this workspace: what they declare, who needs whom, what a change concerns.

Only the standard library is used, so that nox and a release job can run it anywhere.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("core", "packages/*", "contrib/*")
SHARED_PATHS = ("pyproject.toml", "conftest.py", "noxfile.py", "tools/", ".github/", ".ci/")
"""What concerns every package when it changes."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """One distribution of this repository, as its `pyproject.toml` describes it."""

    name: str
    version: str
    folder: Path
    module: str
    dependencies: tuple[str, ...]
    optional: tuple[str, ...]
    test: tuple[str, ...]
    pins: tuple[str, ...] = ()

    @property
    def area(self) -> str:
        """`core`, `packages` or `contrib`."""
        return self.folder.relative_to(ROOT).parts[0]

    @property
    def apart(self) -> bool:
        """Whether it has an environment of its own, because it cannot share that of the others."""
        return self.folder.relative_to(ROOT).as_posix() in _excluded()

    @property
    def stated_version(self) -> str | None:
        """What `__version__` in its `__init__.py` says."""
        init = (self.folder / "src" / self.module / "__init__.py").read_text(encoding="utf-8")
        match = re.search(r'^__version__ = "(.+)"$', init, flags=re.MULTILINE)
        return match[1] if match else None

    @property
    def needs(self) -> frozenset[str]:
        """Names of everything that it, its extras or its tests require."""
        return frozenset(name_of(row) for row in (*self.dependencies, *self.optional, *self.test))


def name_of(requirement: str) -> str:
    """`Omlab_Core[torch]>=1` -> `omlab-core`."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    if match is None:
        raise ValueError(f"'{requirement}' is not a requirement")
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def read_package(folder: Path) -> Package:
    """The package in `folder`."""
    document = read_toml(folder / "pyproject.toml")
    project = document["project"]
    optional = project.get("optional-dependencies", {})
    return Package(
        name=project["name"],
        version=project["version"],
        folder=folder,
        module=Path(document["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"][0]).name,
        dependencies=tuple(project.get("dependencies", ())),
        optional=tuple(row for rows in optional.values() for row in rows),
        test=tuple(document.get("dependency-groups", {}).get("test", ())),
        pins=tuple(document["tool"].get("uv", {}).get("constraint-dependencies", ())),
    )


@cache
def packages() -> tuple[Package, ...]:
    """All packages, core first, each area by name."""
    folders = [folder for pattern in FOLDERS for folder in sorted(ROOT.glob(pattern))]
    return tuple(read_package(folder) for folder in folders if (folder / "pyproject.toml").is_file())


def sharing() -> tuple[Package, ...]:
    """The packages that share one environment: all but those apart."""
    return tuple(package for package in packages() if not package.apart)


def apart() -> tuple[Package, ...]:
    """The packages that have an environment of their own, each another."""
    return tuple(package for package in packages() if package.apart)


def pins(package: Package | None = None) -> list[str]:
    """The versions of other people's packages that the checks run with; a package's own go before the root's."""
    rows: list[str] = read_toml(ROOT / "pyproject.toml")["tool"]["uv"]["constraint-dependencies"]
    own = package.pins if package is not None else ()
    replaced = set(map(name_of, own))
    return [*(row for row in rows if name_of(row) not in replaced), *own]


@cache
def _excluded() -> frozenset[str]:
    """Folders that the root's uv workspace leaves out."""
    return frozenset(read_toml(ROOT / "pyproject.toml")["tool"]["uv"]["workspace"].get("exclude", ()))


def with_dependants(names: Iterable[str]) -> list[Package]:
    """The named packages and every package that needs one of them, directly or not."""
    found = set(names)
    grown = True
    while grown:
        more = {package.name for package in packages() if package.needs & found} - found
        found |= more
        grown = bool(more)
    return [package for package in packages() if package.name in found]


def changed(base: str) -> list[Package]:
    """The packages that differ from the merge base with `base` (committed or not), and their dependants.

    All packages where that commit is not at hand: a first push, a shallow clone. Raises `ValueError` for a branch or
    tag that is not there.
    """
    try:
        fork = git("merge-base", base, "HEAD")[0]
    except subprocess.CalledProcessError as error:
        if not re.fullmatch(r"[0-9a-f]{40}", base) and not _git_knows(base):
            wanted = f"There is no branch, tag or commit '{base}' here: fetch it, or give another --base."
            raise ValueError(wanted) from error
        return list(packages())
    paths = [*git("diff", "--name-only", fork), *git("ls-files", "--others", "--exclude-standard")]
    if any(path.startswith(SHARED_PATHS) for path in paths):
        return list(packages())
    folders = {package.name: package.folder.relative_to(ROOT).as_posix() + "/" for package in packages()}
    return with_dependants(name for name, folder in folders.items() if any(path.startswith(folder) for path in paths))


def _git_knows(name: str) -> bool:
    try:
        return bool(git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"))
    except subprocess.CalledProcessError:
        return False


def git(*arguments: str) -> list[str]:
    """The lines that a git command prints in this repository. Raises `CalledProcessError`."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603, S607 - fixed program, arguments of ours
    return done.stdout.splitlines()

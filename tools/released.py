"""What was released: tags NAME-vVERSION of this repository, and distributions built from them.

What is built is what was tagged: the files are those of the tag, not of the checkout.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from tools import workspace
from tools.workspace import Package, git, name_of


@dataclass(frozen=True, kw_only=True)
class Siblings:
    """The other packages of this repository that a package is installed with.

    `released` are their wheels by name; `unreleased` the names of those that have no release yet, which only tests or
    extras ask for.
    """

    released: dict[str, Path]
    unreleased: list[str]


def latest(name: str) -> Version | None:
    """The highest version of a package that has a tag; None where there is none."""
    versions = []
    for tag in git("tag", "--list", f"{name}-v*"):
        try:
            versions.append(Version(tag.removeprefix(f"{name}-v")))
        except InvalidVersion:  # a tag of another package, whose name begins alike
            continue
    return max(versions, default=None)


def build(package: Package, tag: str, *, folder: Path, only_wheel: bool = False) -> None:
    """Put the distributions of a tag of `package` into `folder`.

    Raises `ValueError` where there is no such tag or it cannot be built.
    """
    inside = package.folder.relative_to(workspace.ROOT)
    with TemporaryDirectory() as temporary:
        archive, source = Path(temporary) / "tag.zip", Path(temporary) / "source"
        try:
            git("archive", "--format=zip", f"--output={archive}", f"refs/tags/{tag}", "--", inside.as_posix())
            shutil.unpack_archive(archive, source)
            wanted = ["--wheel"] if only_wheel else []
            command = ["uv", "build", "--quiet", *wanted, "--out-dir", str(folder.absolute()), "."]
            subprocess.run(command, cwd=source / inside, check=True, capture_output=True, text=True)  # noqa: S603 - fixed program, arguments of ours
        except subprocess.CalledProcessError as error:
            raise ValueError(f"{tag} cannot be built: {error.stderr.strip()}") from error


def siblings(package: Package, *, folder: Path) -> Siblings:
    """The others that `package` and its tests need, as they were released last; their wheels lie in `folder`.

    Raises `ValueError` where one that it depends on has no release that fits.
    """
    faults = unmet(package)
    if faults:
        raise ValueError(faults[0])
    wheels, unreleased = {}, []
    for sibling in _others(package):
        version = latest(sibling.name)
        if version is None:
            unreleased.append(sibling.name)
        else:
            place = folder / sibling.name
            build(sibling, f"{sibling.name}-v{version}", folder=place, only_wheel=True)
            wheels[sibling.name] = next(place.glob("*.whl"))
    return Siblings(released=wheels, unreleased=unreleased)


def unmet(package: Package) -> list[str]:
    """What of the siblings that `package` depends on has no release that fits, one sentence each."""
    ours = {other.name for other in workspace.packages()}
    found = []
    for row in package.dependencies:
        requirement = Requirement(row)
        name = name_of(row)
        version = latest(name)
        if name in ours and (version is None or not requirement.specifier.contains(version, prereleases=True)):
            has = "has no release" if version is None else f"was last released as {version}"
            found.append(f"{package.name} needs {name}{requirement.specifier}, which {has}: release that first.")
    return found


def _others(package: Package) -> list[Package]:
    """The other packages of this repository that the package, its extras and its tests lead to."""
    ours = {other.name: other for other in workspace.packages()}
    found: set[str] = set()
    queue = list(package.needs)
    while queue:
        name = queue.pop()
        if name in ours and name not in found:
            found.add(name)
            queue += [name_of(row) for row in (*ours[name].dependencies, *ours[name].optional)]
    return [ours[name] for name in sorted(found - {package.name})]

"""What installed distributions weigh: their own files, and those of what they bring with them.

Sizes are those that the installer wrote down (RECORD), so that nothing but small text files is read. Compiled files
(`.pyc`), which are made later, are not counted.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

CORE = "omlab-core"
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)\s*(?:\[(?P<extras>[^\]]*)\])?")
_OF_EXTRA = re.compile(r"extra\s*==\s*[\"']([^\"']+)[\"']")

Installed = Mapping[str, Distribution]
"""Distributions by their normalised name."""


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """A distribution of omlab and what it weighs.

    Attributes:
        name: Of the distribution.
        version: Likewise.
        size: Bytes of its own files; None where its installer did not write them down.
        brought: Bytes of every other distribution that it needs and the core does not, by name, the largest first.
    """

    name: str
    version: str
    size: int | None
    brought: Mapping[str, int | None]


def weigh() -> list[Weighed]:
    """The distributions of omlab that are installed here, by name."""
    found = installed_distributions()
    of_core = needed_by(CORE, found) | {CORE}
    sizes: dict[str, int | None] = {}
    weighed = []
    for name in sorted(name for name in found if name.startswith("omlab-")):
        brought = needed_by(name, found) - of_core - {name}
        for one in {name, *brought} - set(sizes):
            sizes[one] = size_of(found[one])
        largest = sorted(brought, key=lambda one: (-(sizes[one] or 0), one))
        weighed.append(
            Weighed(
                name=name,
                version=found[name].version,
                size=sizes[name],
                brought={one: sizes[one] for one in largest},
            )
        )
    return weighed


def installed_distributions() -> dict[str, Distribution]:
    """All that are installed here; of two with the same name the one that would be imported."""
    found: dict[str, Distribution] = {}
    for one in distributions():
        if one.name:
            found.setdefault(normalised(one.name), one)
    return found


def needed_by(name: str, installed: Installed) -> set[str]:
    """The names of all that a distribution needs, directly or not, of what is installed.

    Without its extras, but with those that it asks of others. What is needed elsewhere (another system, another
    Python) counts where it is installed all the same.
    """
    waiting: deque[tuple[str, frozenset[str]]] = deque([(normalised(name), frozenset())])
    seen = {waiting[0]}
    while waiting:
        one, extras = waiting.popleft()
        for requirement in installed[one].requires or [] if one in installed else []:
            found = _needed(requirement, extras=extras)
            if found is not None and found[0] in installed and found not in seen:
                seen.add(found)
                waiting.append(found)
    return {one for one, _ in seen} - {normalised(name)}


def _needed(requirement: str, *, extras: frozenset[str]) -> tuple[str, frozenset[str]] | None:
    """Name and extras of a requirement; None where it belongs to an extra that is not among `extras`."""
    found = _REQUIREMENT.match(requirement)
    of_extras = {normalised(extra) for extra in _OF_EXTRA.findall(requirement)}
    if found is None or (of_extras and not of_extras & extras):
        return None
    asked = frozenset(normalised(extra) for extra in (found["extras"] or "").split(",") if extra.strip())
    return normalised(found["name"]), asked


def normalised(name: str) -> str:
    """`Omlab_Core` as `omlab-core` (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def size_of(one: Distribution) -> int | None:
    """Bytes of a distribution's files, of one that is edited in place those of its sources; None: not written down."""
    record = one.read_text("RECORD")
    if not record:
        return None
    rows = list(csv.reader(record.splitlines()))
    # Only beside the packages is it a list of folders: inside of one it is a checkpoint.
    links = [one.locate_file(row[0]) for row in rows if row and row[0].endswith(".pth") and "/" not in row[0]]
    own = sum(int(row[2]) for row in rows if len(row) == 3 and row[2].isdigit())
    return own + sum(_size_behind(Path(str(link))) for link in links)


def _size_behind(link: Path) -> int:
    """Bytes of the sources in the folders that a `.pth` file names."""
    try:
        folders = [Path(line) for line in link.read_text(encoding="utf-8").splitlines() if Path(line).is_absolute()]
    except OSError:
        return 0
    files = (path for folder in folders if folder.is_dir() for path in folder.rglob("*") if path.suffix != ".pyc")
    return sum(path.stat().st_size for path in files if path.is_file())

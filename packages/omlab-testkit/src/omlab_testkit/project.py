"""What a package's own `pyproject.toml` and `tests/` folder say to the kit.

[tool.omlab-testkit.skip]                  # a check that is switched off, and why
predict_is_deterministic = "the sampler draws noise on purpose, see the model's paper"
"gpu_equals_cpu[bignet-*]" = "..."         # for the cards of that name only

[tool.omlab-testkit.settings."bignet-*"]   # settings that keep the checks of these cards quick
window = 32

[tool.omlab-testkit.options."bignet-*/generate"]        # likewise options of a verb
tokens = 4

[tool.omlab-testkit.training."bignet-*/segmentation"]   # and settings of a recipe; without /RECIPE of all
patch = 32

[tool.omlab-testkit.slow]                  # a check that takes over ten seconds, and why: it is marked `slow`
"golden_file_is_answered[golden/large.json]" = "..."

[tool.omlab-testkit.like]                  # a model of the same code as another, of other sizes: what its verbs and
bignet-huge = "bignet-tiny"                # recipes do is checked on that one, and marked `slow` on this one
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from omlab.errors import UsageError

FEWEST_WORDS = 5
"""A reason for switching a check off is a sentence of at least so many words."""
TABLES = ("settings", "options", "training")
_SKIP = re.compile(r"^(?P<check>\w+)(?:\[(?P<subject>.+)\])?$")


@dataclass(frozen=True, kw_only=True)
class Skip:
    """A check that is switched off or slow (for subjects that match `subject`), with the written reason."""

    check: str
    subject: str
    reason: str

    def is_of(self, check: str, subject: str) -> bool:
        """Whether it is about `check` of `subject`."""
        return self.check == check and fnmatchcase(subject, self.subject)


@dataclass(frozen=True, kw_only=True)
class Project:
    """The source folder of a distribution. `folder` None: only the installed package is there."""

    name: str
    folder: Path | None = None
    skips: tuple[Skip, ...] = ()
    slow: tuple[Skip, ...] = ()
    like: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def tests(self) -> Path | None:
        """The folder `tests/` of the package."""
        return self.folder / "tests" if self.folder else None

    def reason_to_skip(self, check: str, subject: str) -> str:
        """Why `check` is switched off for `subject`; empty where it is not."""
        return next((skip.reason for skip in self.skips if skip.is_of(check, subject)), "")

    def is_slow(self, check: str, subject: str) -> bool:
        """Whether `check` takes long for `subject`."""
        return any(slow.is_of(check, subject) for slow in self.slow)


def read_project(folder: Path, *, checks: Iterable[str]) -> Project:
    """The project in `folder`. Raises `UsageError` for an unknown check or one switched off without a reason."""
    path = folder / "pyproject.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        name = document["project"]["name"]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"{path} has no readable [project] with a name ({error}).") from error
    table = document.get("tool", {}).get("omlab-testkit", {})
    unknown = sorted(set(table) - {"skip", "slow", "like", *TABLES})
    if unknown:
        known_tables = f"skip, slow, like, {' and '.join(TABLES)}"
        raise UsageError(f"{path}: [tool.omlab-testkit] has no '{unknown[0]}'; it has {known_tables}.")
    known = frozenset(checks)
    return Project(
        name=name,
        folder=folder,
        skips=_skips(table, "skip", path=path, known=known),
        slow=_skips(table, "slow", path=path, known=known),
        like=table.get("like", {}),
        **{name: table.get(name, {}) for name in TABLES},
    )


def _skips(table: Mapping[str, Any], name: str, *, path: Path, known: frozenset[str]) -> tuple[Skip, ...]:
    rows = table.get(name, {}).items()
    return tuple(_skip(key, reason, table=name, path=path, known=known) for key, reason in rows)


def _skip(key: str, reason: object, *, table: str, path: Path, known: frozenset[str]) -> Skip:
    match = _SKIP.match(key)
    if match is None or match["check"] not in known:
        raise UsageError(f"{path}: [tool.omlab-testkit.{table}] names '{key}', which is no check of the kit.")
    if not isinstance(reason, str) or len(reason.split()) < FEWEST_WORDS:
        what = "switched off" if table == "skip" else "called slow"
        raise UsageError(
            f"{path}: '{key}' is {what} without a reason; write a sentence of at least {FEWEST_WORDS} words."
        )
    return Skip(check=match["check"], subject=match["subject"] or "*", reason=" ".join(reason.split()))


def folder_above(path: Path) -> Path | None:
    """The nearest folder at or above `path` whose pyproject.toml has a [project]."""
    for folder in [path, *path.parents]:
        if _project_name(folder):
            return folder
    return None


def folder_of(distribution: str, *, root: Path) -> Path | None:
    """The folder of `distribution` in the workspace `root`: the root, or at most two levels below it."""
    for pattern in ("pyproject.toml", "*/pyproject.toml", "*/*/pyproject.toml"):
        for path in sorted(root.glob(pattern)):
            if normal(_project_name(path.parent)) == normal(distribution):
                return path.parent
    return None


def normal(name: str) -> str:
    """A distribution's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def overrides(tables: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Any]:
    """What the tables whose pattern matches the card `name` say; later ones win."""
    return {key: value for pattern, t in tables.items() if fnmatchcase(name, pattern) for key, value in t.items()}


def _project_name(folder: Path) -> str:
    try:
        document = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return ""
    return str(document.get("project", {}).get("name", ""))

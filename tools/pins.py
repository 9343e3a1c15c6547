"""The version of everything that the checks and `uv run` install: `python -m tools.pins` writes them anew.

They stand in `constraint-dependencies` of the root pyproject, where uv finds them for `uv run` and the noxfile for its
sessions: whatever anything needs, with the platforms that a version is for, and not where it comes from. Pins that fit
are kept; those of the given names, or with `--all` every one, become the newest that go together.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Collection, Iterator

from packaging.requirements import Requirement

from tools import workspace
from tools.workspace import Package, name_of

LIST = re.compile(r"^constraint-dependencies = \[\n.*?^\]$", flags=re.MULTILINE | re.DOTALL)
EXPORT = (
    *("uv", "export", "--quiet", "--frozen", "--all-packages", "--all-extras", "--all-groups"),
    *("--no-emit-workspace", "--no-hashes", "--no-annotate", "--no-header"),
)


def with_pins(text: str, rows: Collection[str]) -> str:
    """The text of the root pyproject with these pins."""
    lines = "".join(f'    "{row}",\n' for row in rows)
    return LIST.sub(lambda _: f"constraint-dependencies = [\n{lines}]", text, count=1)


def refresh(*, renewed: Collection[str] = (), everything: bool = False) -> list[str]:
    """Resolve the workspace, write what it takes as pins and give them.

    Raises `ValueError`, with the pins left as they were, where nothing fits together or something has an address.
    """
    path = workspace.ROOT / "pyproject.toml"
    before = path.read_text(encoding="utf-8")
    kept = [] if everything else [row for row in workspace.pins() if name_of(row) not in renewed]
    upgrades = ["--upgrade"] if everything else [f"--upgrade-package={name}" for name in renewed]
    path.write_text(with_pins(before, kept), encoding="utf-8")
    try:
        _uv("uv", "lock", "--quiet", *upgrades)
        rows = _uv(*EXPORT)
        foreign = next((row for row in rows if "==" not in row), None)
        if foreign is not None:
            raise ValueError(f"'{foreign}' has no version to pin.")
    except ValueError:
        path.write_text(before, encoding="utf-8")
        raise
    path.write_text(with_pins(before, rows), encoding="utf-8")
    return rows


def unpinned(package: Package) -> Iterator[str]:
    """What `package` asks for by name and the pins do not hold, one sentence each."""
    ours = {other.name for other in workspace.packages()}
    pins: dict[str, list[str]] = {}
    for row in workspace.pins(package):
        pins.setdefault(name_of(row), []).append(row)
    for row in (*package.dependencies, *package.optional, *package.test):
        if name_of(row) in ours:
            continue
        asked = f"{package.name} asks for {row}"
        if name_of(row) not in pins:
            yield f"{asked}, which has no pin: run python -m tools.pins."
        for pin in pins.get(name_of(row), ()):
            (version,) = (one.version for one in Requirement(pin).specifier)
            if not Requirement(row).specifier.contains(version, prereleases=True):
                yield f"{asked}, but the pin is {pin}: run python -m tools.pins {name_of(row)}."


def _uv(*command: str) -> list[str]:
    done = subprocess.run(command, cwd=workspace.ROOT, check=False, capture_output=True, text=True)  # noqa: S603 - fixed program, arguments of ours
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout.splitlines()


def main() -> int:
    """Write the pins; 1, with uv's reason, where that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", type=name_of, help="pins to renew")
    parser.add_argument("--all", action="store_true", help="renew all of them")
    asked = parser.parse_args()
    try:
        rows = refresh(renewed=asked.names, everything=asked.all)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(rows)} pins")
    return 0


if __name__ == "__main__":
    sys.exit(main())

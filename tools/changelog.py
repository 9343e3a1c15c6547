"""The page of changes: what each package's CHANGELOG.md says, and what its changes/ hold for the next release."""

from __future__ import annotations

from collections.abc import Iterator

from tools.workspace import Package, packages

KINDS = {
    "removal": "Removed or changed otherwise",
    "feature": "New",
    "bugfix": "Mended",
    "doc": "Documentation",
    "misc": "Others",
}
STARTS = "<!-- towncrier release notes start -->"


def page() -> str:
    """The page `changelog.md`: a section a package."""
    parts = [
        "# Changes",
        "Each package has versions of its own. What is not released yet stands first; "
        "[Releasing a package](releasing.md) tells how it becomes a version.",
    ]
    for package in packages():
        parts += [f"## {package.name}", *_coming(package), _released(package)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _coming(package: Package) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for path in sorted((package.folder / "changes").glob("*.md")):
        kind = path.name.split(".")[-2]
        found.setdefault(kind, []).append(" ".join(path.read_text(encoding="utf-8").split()))
    for kind, title in KINDS.items():
        if kind in found:
            yield f"**{title}, not released yet**"
            yield "\n".join(f"- {line}" for line in found.pop(kind))
    if found:
        raise ValueError(f"{package.name}: changes/ holds fragments of the unknown kind {', '.join(sorted(found))}")


def _released(package: Package) -> str:
    """The entries of CHANGELOG.md, a level deeper."""
    path = package.folder / "CHANGELOG.md"
    entries = path.read_text(encoding="utf-8").partition(STARTS)[2] if path.is_file() else ""
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in entries.strip().splitlines())

"""A page for every package, its README with links that lead to the site's pages; and the table of all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath

from tools import plugin_table
from tools.workspace import ROOT, Package, packages

_LINK = re.compile(r"\[([^\[\]]+)\]\((?!\w+:|#)([^()#\s]+)(#[^()\s]*)?\)")


def pages() -> Iterator[tuple[str, str]]:
    """Paths and texts of all pages."""
    yield "packages.md", index()
    for package in packages():
        yield f"packages/{package.name}.md", page(package)


def index() -> str:
    """The page `packages.md`."""
    return "\n\n".join(
        [
            "---\nhide: [toc]\n---",
            "# Packages",
            "Each is a distribution of its own, installed beside the core: `pip install NAME`. "
            "[Changes](changelog.md) tells what is new in each.",
            linked(plugin_table.table(), folder=ROOT, to_site=""),
        ]
    )


def page(package: Package) -> str:
    """All that its README says of a package."""
    text = (package.folder / "README.md").read_text(encoding="utf-8").strip()
    changes = f"[What changed in {package.name}](../changelog.md#{package.name}) · [All packages](../packages.md)"
    return f"{linked(text, folder=package.folder, to_site='../')}\n\n{changes}\n"


def linked(text: str, *, folder: Path, to_site: str) -> str:
    """Markdown whose links to files of this repository lead to the site's pages; where there is none, the words stay.

    Args:
        text: Markdown that lies in `folder`.
        folder: Where its links start.
        to_site: The way from its page to the site's first page.
    """
    here = folder.relative_to(ROOT).as_posix()

    def changed(match: re.Match[str]) -> str:
        words, target, anchor = match.groups()
        found = _page_of(normpath(f"{here}/{target}"))
        return f"[{words}]({to_site}{found}{anchor or ''})" if found else words

    return _LINK.sub(changed, text)


def _page_of(path: str) -> str:
    """The page that shows a file or folder of the repository, from the site's first page; empty: none does."""
    folders = {package.folder.relative_to(ROOT).as_posix(): package.name for package in packages()}
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    name = folders.get(path.removesuffix("/README.md"))
    return f"packages/{name}.md" if name else ""

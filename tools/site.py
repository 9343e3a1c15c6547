"""The hooks of mkdocs: pages that are not written by hand, and the promise that the site needs no network."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # mkdocs loads hooks by path

from omlab_testkit.scaffold.kinds import KINDS  # noqa: E402 - needs the path above, as do the next
from tools import benchmarks, card_pages, catalogue, changelog, long_lines, model_index, model_pages, package_pages  # noqa: E402
from tools.reference import PAGES  # noqa: E402


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Called by mkdocs once it has found the pages in docs/."""
    for path, page in PAGES.items():
        files.append(File.generated(config, path, content=page()))
    files.append(File.generated(config, "benchmarks.md", content=benchmarks.page()))
    for path, picture in benchmarks.plots():
        files.append(File.generated(config, path, content=picture))
    files.append(File.generated(config, "changelog.md", content=changelog.page()))
    files.append(File.generated(config, "models.md", content=model_index.page()))
    for path, text in (*model_pages.pages(), *card_pages.pages(), *package_pages.pages()):
        files.append(File.generated(config, path, content=text))
    files.append(File.generated(config, "llms.txt", content=for_agents(config)))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "contributing.md", content=contributing))
    return files


def for_agents(config: MkDocsConfig) -> str:
    """`llms.txt`: what the site is and where each page is, for programs that read it (llmstxt.org)."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description} Research software, not a medical device.", ""]
    kinds = ", ".join(KINDS)
    lines += [
        f"The whole form of a plugin is on one page, writing-a-plugin.html; `omlab new KIND NAME` writes one: {kinds}."
    ]
    lines += [""]
    lines += ["## Pages", ""]
    for entry in config.nav or ():
        for title, where in entry.items():
            pages = {title: where} if isinstance(where, str) else {k: v for part in where for k, v in part.items()}
            lines += [f"- [{name}]({Path(path).with_suffix('.html')})" for name, path in pages.items()]
    lines += ["", "## Models", ""]
    lines += [f"- [{card.name}](models/{card.name}.html): {card.summary}" for card in catalogue.models()]
    return "\n".join(lines) + "\n"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs for the source of every page: no code is broader than a page."""
    return long_lines.narrowed(markdown)


def on_post_page(output: str, **_: object) -> str:
    """Called by mkdocs for every page. Raises `PluginError` where one would fetch something from elsewhere."""
    foreign = re.search(r"<(?:script|link|img|iframe)[^>]*\b(?:src|href)=[\"']?(https?:)?//[^\"' >]*", output)
    if foreign:
        raise PluginError(f"A page would fetch something from elsewhere: {foreign.group()}")
    return output


def on_post_build(*, config: MkDocsConfig) -> None:
    """Called by mkdocs at the end: what the search indexed is also written as a script, which needs no server."""
    site = Path(config.site_dir)
    pages = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    script = f"window.omlabPages = {json.dumps(pages)};\n"
    (site / "assets" / "search-index.js").write_text(script, encoding="utf-8")

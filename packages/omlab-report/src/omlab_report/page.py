"""From blocks to one HTML file: rendering with Jinja2 (everything escaped) and writing it atomically."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from omlab.files import replacing, writing
from omlab_report.blocks import Figure, Page
from omlab_report.themes import THEMES, render_svg

INTENDED_USE = "Research software, not a medical device. Nothing here is approved for the care of patients."
"""What stands at the foot of every page."""
FOLDED_FROM = 16
"""Entries beyond which contents are folded."""


def render_page(page: Page) -> str:
    """The HTML of a page: complete in itself, with a content security policy that allows no request."""
    style, script = _asset("page.css"), _asset("sort.js")
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src 'sha256-{_digest(style)}'; script-src 'sha256-{_digest(script)}'"
    )
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            page=page,
            style=style,
            script=script,
            policy=policy,
            mark=data_uri(_asset("mark.svg").encode(), "image/svg+xml"),
            intended_use=INTENDED_USE,
            folded_from=FOLDED_FROM,
        )
    )


def write_page(page: Page, path: Path) -> None:
    """Write `page` to `path` (replacing it) in one step. Raises `OutputError` where that cannot be done."""
    write_text(render_page(page), path)


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text so that `path` is either as before or complete. Raises `OutputError`."""
    with writing("The report", path), replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def data_uri(content: bytes, media_type: str) -> str:
    """`content` as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def picture_uri(content: bytes) -> str:
    """A picture as a data URI: JPEG where it begins as one, else PNG."""
    return data_uri(content, "image/jpeg" if content.startswith(b"\xff\xd8\xff") else "image/png")


def draw(figure: Figure) -> dict[str, str]:
    """The figure as SVG data URIs, by theme."""
    return {name: data_uri(render_svg(figure.plot, theme), "image/svg+xml") for name, theme in THEMES.items()}


def _asset(name: str) -> str:
    return resources.files("omlab_report").joinpath("templates", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("omlab_report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["picture_uri"] = picture_uri
    environment.filters["draw"] = draw
    return environment

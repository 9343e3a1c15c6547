"""The site, the reports and their plots share one mark and one set of colours."""

import re
from importlib import resources
from pathlib import Path

import pytest

from omlab_report.themes import THEMES

ASSETS = Path(__file__).parents[2] / "docs" / "assets"
TEMPLATES = resources.files("omlab_report") / "templates"
SHARED = {
    "--md-primary-fg-color": ("default", "brand"),
    "--md-accent-fg-color": ("both", "warm"),
    "--md-typeset-a-color": ("both", "accent"),
    "--md-default-fg-color": ("both", "ink"),
    "--md-default-bg-color": ("slate", "paper"),
}
"""Colours of the site, in which scheme they stand, and what reports call them."""


def of_site(scheme: str) -> dict[str, str]:
    css = (ASSETS / "omlab.css").read_text(encoding="utf-8")
    block = re.search(rf'\[data-md-color-scheme="{scheme}"\] \{{(.*?)\}}', css, re.DOTALL)
    assert block is not None
    return dict(re.findall(r"(--[\w-]+): (#\w{6})", block[1]))


def of_reports() -> dict[str, dict[str, str]]:
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    )
    return {"default": light, "slate": dark}


@pytest.mark.parametrize("scheme", ["default", "slate"])
def test_the_site_has_the_colours_of_reports(scheme: str) -> None:
    site, report = of_site(scheme), of_reports()[scheme]
    for name, (where, ours) in SHARED.items():
        if where in ("both", scheme):
            assert site[name] == report[ours], f"{name} of the site and --{ours} of reports differ"


def test_the_mark_is_the_same_and_in_the_colours_of_plots() -> None:
    mark = (ASSETS / "mark.svg").read_text(encoding="utf-8")
    assert (TEMPLATES / "mark.svg").read_text(encoding="utf-8") == mark
    assert set(re.findall(r"#\w{6}", mark)) <= set(THEMES["dark_wide"].series)

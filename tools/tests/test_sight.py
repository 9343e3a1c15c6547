"""Nothing of a page is cut off, on a desk or on a phone, as a browser shows the site that was built."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.workspace import ROOT

pytest.importorskip("playwright")
pytest.importorskip("material", reason="needs mkdocs-material")

from tools import sight

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sight.chromium() is None, reason="there is no chromium")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    return folder


@pytest.mark.parametrize("width", sight.WIDTHS)
def test_no_page_is_cut_off(site: Path, width: int) -> None:
    with sight.window(width=width, scheme="light") as page:
        found = {path.relative_to(site).as_posix(): sight.cut_off(page, path) for path in sight.pages_of(site)}
    assert {name: words for name, words in found.items() if words} == {}


def test_tables_are_filtered_by_keyboard(site: Path) -> None:
    with sight.window(width=390, scheme="light") as page:
        page.goto((site / "models.html").as_uri())
        rows = page.locator("table[data-filter] tbody tr:visible")
        everything = rows.count()
        page.get_by_label("modality").focus()
        page.keyboard.type("fundus")
        fundus = rows.count()
        page.get_by_label("words").focus()
        page.keyboard.type("retfound-green")
        assert 0 < rows.count() < fundus < everything
        assert page.get_by_role("status").inner_text().strip() == f"{rows.count()} of {everything}"


def test_words_are_found_from_a_disk(site: Path) -> None:
    with sight.window(width=1280, scheme="light") as page:
        page.goto((site / "models" / "stunet-base.html").as_uri())
        page.get_by_role("link", name="Find").first.click()
        page.get_by_label("words").fill("torchrun rank")
        page.locator("#omlab-found a").first.click()
        assert page.url.startswith(site.as_uri())
        assert "torchrun" in page.locator(".md-content").inner_text()


def test_what_is_cut_off_is_told(tmp_path: Path) -> None:
    (tmp_path / "wide.html").write_text(
        '<div class="md-content"><p>Fits.</p><p style="width: 900px">Too wide.</p>'
        '<div style="width: 90px; overflow: hidden"><b style="display: block; width: 200px">Hidden.</b></div>'
        '<div style="width: 90px; overflow: auto"><b style="display: block; width: 900px">Scrolls.</b></div>'
        '<img src="absent.png"></div>',
        encoding="utf-8",
    )
    with sight.window(width=390, scheme="light") as page:
        found = "; ".join(sight.cut_off(page, tmp_path / "wide.html"))
    for words in ('p "Too wide." ends at', 'div "Hidden." lacks 110 px', "absent.png does not show"):
        assert words in found
    assert "Scrolls" not in found
    assert "Fits" not in found

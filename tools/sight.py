"""Look at every page of the built site as a browser shows it, on a desk and on a phone, light and dark.

python -m tools.sight SITE              say what is cut off; exit 1 where something is
python -m tools.sight SITE -o FOLDER    also write contact sheets: many pages in one picture

SITE is what `mkdocs build -d SITE` made. Needs playwright and a chromium on the path.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
HEIGHT = 900
TALLEST = 2600  # pixels of a page on a sheet
ACROSS, DOWN, SCALE = 5, 2, {1280: 0.36, 390: 0.6}
CUT = """
() => {
  const wide = document.scrollingElement.scrollWidth;
  const found = wide > innerWidth + 1 ? [`the page is ${wide} px wide`] : [];
  const scrolls = (one) => ["auto", "scroll"].includes(getComputedStyle(one).overflowX);
  const name = (one) => `${one.tagName.toLowerCase()} "${(one.textContent || one.alt || "").trim().slice(0, 40)}"`;
  for (const one of document.querySelectorAll(".md-content *")) {
    const style = getComputedStyle(one);
    if (one.tagName === "IMG" && one.complete && !one.naturalWidth) found.push(`${one.src} does not show`);
    if (style.display === "inline" || !one.getClientRects().length) continue;
    if (one.closest(".headerlink, button, select")) continue;
    const more = one.scrollWidth - one.clientWidth;
    if (more > 1 && one.clientWidth && ["hidden", "clip"].includes(style.overflowX)) {
      found.push(`${name(one)} lacks ${more} px`);
    }
    if (one.tagName === "CODE" && one.parentElement.tagName === "PRE" && more > 1) {
      found.push(`${name(one)} scrolls by ${more} px`);
    }
    let up = one;
    while (up && up !== document.body && !scrolls(up)) up = up.parentElement;
    if ((!up || up === document.body) && one.getBoundingClientRect().right > innerWidth + 1) {
      found.push(`${name(one)} ends at ${Math.round(one.getBoundingClientRect().right)} px`);
    }
  }
  return [...new Set(found)].slice(0, 8);
}
"""


def chromium() -> str | None:
    """The browser, where there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pages_of(site: Path, *, only: str = "**/*.html") -> list[Path]:
    """The pages of a site by their path, but for the one that a server shows where there is none."""
    return [path for path in sorted(site.glob(only)) if path.name != "404.html"]


@contextmanager
def window(*, width: int, scheme: str) -> Iterator[Page]:
    """An empty browser window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHT}, color_scheme="dark" if scheme == "dark" else "light"
        )
        yield context.new_page()
        browser.close()


def cut_off(page: Page, path: Path) -> list[str]:
    """What of a page is cut off in this window, in words; also code that must be scrolled to be read."""
    page.goto(path.resolve().as_uri())
    found: list[str] = page.evaluate(CUT)
    return found


def sheet(pictures: Iterable[Image.Image]) -> Image.Image:
    """Pictures of one width side by side."""
    rows = list(pictures)
    width, height = rows[0].width + 6, max(row.height for row in rows) + 6
    lines = -(-len(rows) // ACROSS)
    made = Image.new("RGB", (width * min(ACROSS, len(rows)), height * lines), "magenta")
    for number, row in enumerate(rows):
        made.paste(row, (width * (number % ACROSS), height * (number // ACROSS)))
    return made


def _thumbnail(page: Page, *, width: int) -> Image.Image:
    tall = min(TALLEST, int(page.evaluate("document.scrollingElement.scrollHeight")))
    shot = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": tall})
    with Image.open(io.BytesIO(shot)) as image:
        return image.convert("RGB").resize((int(width * SCALE[width]), int(tall * SCALE[width])))


def main() -> int:
    """Look at a site."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="folder of contact sheets")
    parser.add_argument("--only", default="**/*.html", help="pages, as a pattern")
    asked = parser.parse_args()
    paths = pages_of(asked.site, only=asked.only)
    bad = 0
    for width in WIDTHS:
        for scheme in SCHEMES:
            if scheme == "dark" and not asked.output:
                continue  # what is cut off is so in any colours
            shots = []
            with window(width=width, scheme=scheme) as page:
                for path in paths:
                    found = cut_off(page, path)
                    if found and scheme == "light":
                        bad += 1
                        print(f"{path.relative_to(asked.site)} at {width} px: {'; '.join(found)}", flush=True)
                    if asked.output:
                        shots.append(_thumbnail(page, width=width))
            for first in range(0, len(shots), ACROSS * DOWN):
                asked.output.mkdir(parents=True, exist_ok=True)
                name = f"{width}-{scheme}-{first // (ACROSS * DOWN):02d}.png"
                sheet(shots[first : first + ACROSS * DOWN]).save(asked.output / name)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

"""The packages' pages: their READMEs, with links that lead somewhere on the site."""

from tools import package_pages
from tools.workspace import ROOT, packages


def test_links_lead_to_the_sites_pages_or_are_none() -> None:
    text = (
        "[tips](../../docs/slides.md#tips) [core](../../README.md) [other](../omlab-image/README.md) "
        "[figures](benchmarks/results.csv) [paper](https://doi.org/10.1/x) [below](#limits)"
    )
    assert package_pages.linked(text, folder=ROOT / "packages" / "omlab-slide", to_site="../") == (
        "[tips](../slides.md#tips) [core](../index.md) [other](../packages/omlab-image.md) "
        "figures [paper](https://doi.org/10.1/x) [below](#limits)"
    )


def test_every_package_has_a_page_in_the_index() -> None:
    pages = dict(package_pages.pages())
    for package in packages():
        assert f"[{package.name}](packages/{package.name}.md)" in pages["packages.md"]
        assert f"(../changelog.md#{package.name})" in pages[f"packages/{package.name}.md"]

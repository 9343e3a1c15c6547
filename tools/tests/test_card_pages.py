"""The pages of data sets, adapters, evaluators, formats and kinds: every card has a section that says what it says."""

import re
from typing import get_args

import pytest

from omlab.cards import Kind
from omlab.registry import registry
from tools import card_pages, catalogue, model_index

PAGES = dict(card_pages.pages())
OF = {
    "dataset": "datasets.md", "adapter": "adapters.md", "evaluator": "evaluators.md", "format": "formats.md",
    "payload": "kinds.md",
}  # fmt: skip


def section(page: str, name: str) -> str:
    return PAGES[page].split(f"\n## {name}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("kind", sorted(set(get_args(Kind)) - {"model"}))
def test_every_card_has_a_row_and_a_section(kind: Kind) -> None:
    for card in registry().cards(kind):
        assert f'<a href="#{card.name}">' in PAGES[OF[kind]]
        assert f"`pip install {card.distribution}`" in section(OF[kind], card.name)


def test_a_section_says_what_the_card_says() -> None:
    nnunet = section("datasets.md", "nnunet")
    for text in (
        "omlab datasets verify nnunet PATH",
        "targets\n:   [labelmap](kinds.md#labelmap)",
        "[segmentation](evaluators.md#segmentation)",
        "| `fold` |",
        "licence of the data\n:   That of your own files",
    ):
        assert text in nnunet
    assert "[stunet-base](models/stunet-base.md)" in section("adapters.md", "lora")
    assert "[esm2-t6](models/esm2-t6.md)" not in section("adapters.md", "lora")
    assert "[nifti](formats.md#nifti)" in section("kinds.md", "volume")
    assert "[dicom](formats.md#dicom)" in section("formats.md", "dicom-seg")


def test_the_spectrum_has_every_package_by_what_its_models_were_made_for() -> None:
    spectrum = model_index.page().split("</table>")[0]
    assert (
        '<a href="?modality=ct&amp;organ=whole-body&amp;task=segmentation&amp;package=stunet#all-of-them">' in spectrum
    )
    named = set(re.findall(r"package=([\w-]+)#", spectrum))
    assert named == {catalogue.package("model", card.name).removeprefix("omlab-") for card in catalogue.models()}

"""The cards of the formats are complete, true and light; each format does what its card says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import omlab
from omlab.card_schema import FormatCard, PayloadCard, validate
from omlab.formats import write_format
from omlab.registry import load_entry
from omlab_volume import plugin
from omlab_volume.volume import LabelMap, Volume

CARDS = {card.name: card for card in plugin.omlab_formats()}


def test_the_cards_are_complete() -> None:
    assert sorted(CARDS) == [
        "dicom",
        "dicom-labelmap-seg",
        "dicom-seg",
        "displacement",
        "mha",
        "nifti",
        "nifti-mapped",
        "nrrd",
        "ome-zarr",
        "tiff-stack",
    ]
    for card in CARDS.values():
        validated = validate(card)
        assert isinstance(validated, FormatCard)
        format = load_entry(card, validated.entry)()
        assert not validated.reads or callable(format.read)
        assert not validated.writes or callable(format.write)


def test_the_payloads_have_examples_that_belong_together() -> None:
    cards = {card.name: validate(card) for card in plugin.omlab_payloads()}
    assert {"big-labelmap", "big-volume", "labelmap", "volume"} <= set(cards)
    found = {}
    for card in plugin.omlab_payloads():
        validated = cards[card.name]
        assert isinstance(validated, PayloadCard)
        if validated.first is not None:  # made of kinds that have examples
            continue
        assert validated.examples is not None
        kind = load_entry(card, validated.entry)
        found[card.name] = load_entry(card, validated.examples)()
        odd = load_entry(card, validated.odd)() if validated.odd else {}
        assert all(isinstance(one, kind) for one in (*found[card.name], *odd.values()))
    for one, other in (("volume", "labelmap"), ("big-volume", "big-labelmap")):
        assert all(a.same_grid(b) for a, b in zip(found[one], found[other], strict=True))


@pytest.mark.parametrize("name", ["nifti", "nrrd", "mha"])
def test_a_format_reads_what_it_writes(tmp_path: Path, name: str) -> None:
    card = validate(CARDS[name])
    assert isinstance(card, FormatCard)
    format = load_entry(CARDS[name], card.entry)()
    affine = np.array([[0, -1, 0, 5], [1.5, 0, 0, 2], [0, 0, -2, 1], [0, 0, 0, 1.0]])
    payloads = {
        "volume": Volume(array=np.arange(120, dtype=np.float32).reshape(1, 4, 5, 6), affine=affine),
        "labelmap": LabelMap(array=np.arange(120, dtype=np.uint8).reshape(4, 5, 6), affine=affine),
    }
    for kind in card.writes:
        for suffix in card.suffixes:
            path = tmp_path / f"{kind}{suffix}"
            format.write(payloads[kind], path)
            again = format.read(path, kind=kind)
            assert again.kind == kind
            assert again.same_grid(payloads[kind])
            assert np.array_equal(again.array, payloads[kind].array)


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from omlab_volume import plugin; plugin.omlab_formats(); plugin.omlab_payloads(); "
        "heavy = ('numpy', 'torch', 'nibabel', 'pydicom', 'highdicom', 'SimpleITK', 'scipy', 'zarr', 'tifffile'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_of_formats_with_one_suffix_the_likelier_is_taken(tmp_path: Path) -> None:
    volume = Volume(array=np.zeros((1, 3, 4, 5), np.float32), affine=np.eye(4))
    omlab.write(volume, tmp_path / "ct.nii")
    assert omlab.read(tmp_path / "ct.nii").kind == "volume"  # neither a displacement field nor a big volume
    assert write_format("labelmap", tmp_path / "seg.dcm").name == "dicom-seg"  # which every viewer reads

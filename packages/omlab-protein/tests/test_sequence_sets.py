"""Temperatures in titles, families with gaps, and sets of melting temperatures: what is read, and how it is split."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import omlab
from omlab.errors import InputError, OmlabError, UsageError
from omlab_protein.sequence_sets import TEMPERATURES


def titles(path: Path) -> Path:
    lines = []
    for number in range(20):
        lines.append(
            f">P{number} ogt={20 + number};tm={50 + number if number % 2 else None};topt=None OX={number // 2}"
        )
        lines.append("MKV" + "ACDEFGHIKL"[number % 10] * 3)
    path.write_text("\n".join(lines))
    return path


def opened(name: str, root: Path, **settings: object):  # type: ignore[no-untyped-def]  # what the card opens
    return omlab.load_dataset(f"{name}:{root}", settings=settings)


def test_hosts_lie_on_one_side_and_their_temperature_is_in_degrees_celsius(tmp_path: Path) -> None:
    data = opened("temperatures", titles(tmp_path / "ogt.fasta"))
    assert list(data.splits()) == ["train", "val", "test"]
    hosts = [{case.group for case in data.cases(split)} for split in data.splits()]
    assert [len(one) for one in hosts] == [7, 1, 2]
    assert not hosts[0] & hosts[2]
    sample = data.cases("train")[0].load()
    assert sample.inputs["sequence"].letters.startswith("MKV")
    assert list(sample.target.units.values()) == ["°C"]
    assert list(sample.target.values) == [TEMPERATURES["ogt"]]


def test_entries_without_the_wanted_temperature_are_left_out(tmp_path: Path) -> None:
    data = opened("temperatures", titles(tmp_path / "ogt.fasta"), which="tm", test=0.0, val=0.0)
    assert [case.id for case in data.cases("train")] == [f"P{number}" for number in range(1, 20, 2)]
    with pytest.raises(InputError, match="no title with a temperature such as 'topt=37'"):
        opened("temperatures", tmp_path / "ogt.fasta", which="topt").splits()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (">a ogt=310.15\nMK\n", "'310.15' of 'a ogt=310.15' is no temperature in degrees Celsius"),
        (">a ogt=warm\nMK\n", "'warm' of 'a ogt=warm' is no temperature"),
        (">a ogt=37\nM-K\n", "Residue 2 of a is '-'"),
        ("a,b\n", "is no FASTA file"),
        ("", "holds no sequence"),
    ],
)
def test_a_wrong_file_of_temperatures_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.fasta"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(said)) as raised:
        opened("temperatures", path).splits()
    assert str(path) in str(raised.value)


def test_a_family_has_each_homologue_once_with_its_insertions_and_without_gaps(tmp_path: Path) -> None:
    path = tmp_path / "family.a3m"
    path.write_text("#A3M#\n>query\nMKVL\n>hit/1-4\nM-VaaL\n>hit/1-4\nMKV-\n>again\nMKVL\n>nothing\n----\n")
    cases = opened("family", path).cases("train")
    assert [(case.id, case.load().inputs["sequence"].letters) for case in cases] == [
        ("query", "MKVL"),
        ("hit/1-4", "MVAAL"),
        ("hit/1-4-2", "MKV"),
    ]
    path.write_text(">query\n----\n")
    with pytest.raises(InputError, match="holds gaps alone"):
        opened("family", path).splits()


def stability(root: Path) -> Path:
    for folder in ("fasta", "mutant"):
        (root / folder).mkdir(parents=True)
    for name in ("P1-7", "P1-5.5", "Q9-7"):
        (root / "fasta" / f"{name}.fasta").write_text(">wild\nMKVLA\n")
        (root / "mutant" / f"{name}.csv").write_text("mutant,score\nK2A,-3.5\nV3I,1.25\n")
    return root


def test_sets_of_melting_temperatures_are_grouped_by_protein(tmp_path: Path) -> None:
    cases = opened("tm", stability(tmp_path / "tm")).cases("test")
    assert {case.id: case.group for case in cases} == {"P1-5.5": "P1", "P1-7": "P1", "Q9-7": "Q9"}
    sample = cases[0].load()
    assert sample.target.measured == (-3.5, 1.25)
    assert sample.meta == {"function": "Stability", "cutoff": 0.0}


def test_a_set_without_its_wild_type_or_of_another_protein_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no mutant/\*\.csv"):
        opened("tm", tmp_path).cases("test")
    root = stability(tmp_path / "tm")
    (root / "mutant" / "Q9-7.csv").write_text("mutant,score\nW2A,1\n")
    assert [one for one in opened("tm", root).verify() if "residue 2 is W, but it is K" in one]
    (root / "fasta" / "P1-7.fasta").unlink()
    with pytest.raises(OmlabError, match=r"P1-7\.csv has no wild type"):
        opened("tm", root).cases("test")

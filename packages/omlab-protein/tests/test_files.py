"""FASTA and tables of mutants: what is read, and what a wrong file is told."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from omlab.errors import InputError
from omlab_protein.fasta import Fasta
from omlab_protein.mutants import MutantTable
from omlab_protein.sequence import Sequence
from omlab_protein.substitutions import all_single, check_wild_type, mutated, parse
from omlab_protein.variants import Variants, VariantScores


def test_many_sequences_are_read_by_id(tmp_path: Path) -> None:
    text = ">one first protein\nmqi\nFVK\n\n>two\nACD EFG\n"
    plain, packed = tmp_path / "a.fasta", tmp_path / "a.fasta.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
        assert Fasta().index(path) == ("one", "two")
        assert Fasta().read(path, kind="sequence", key="one") == Sequence(letters="MQIFVK", name="one")
        assert Fasta().read(path, kind="sequence", key="two").letters == "ACDEFG"
        with pytest.raises(InputError, match="name one"):
            Fasta().read(path, kind="sequence")


@pytest.mark.parametrize("name", ["x.fasta", "x.fasta.gz"])
def test_a_long_sequence_comes_back(tmp_path: Path, name: str) -> None:
    sequence = Sequence(letters="ACDEFGHIKL" * 13, name="long")
    Fasta().write(sequence, tmp_path / name, inputs={})
    assert Fasta().read(tmp_path / name, kind="sequence") == sequence


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no sequence"),
        (b"MQIF\n", "does not begin with '>'"),
        (b">\nMQ\n", "line 1 has no id"),
        (b">a\nMQ\n>a\nMK\n", "two sequences with the id 'a'"),
        (b">a\n>b\nMK\n", "no residues"),
        (b">a\nMK1\n", "Residue 3 of a is '1'"),
        (b">a\nMK-A\n", "Residue 3 of a is '-'"),
        (gzip.compress(b">a\nMQIFVK\n")[:-6], "cannot be unpacked"),
        (b"\xff\xfe\x00", "not text"),
    ],
)
def test_a_wrong_fasta_is_told_in_a_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.fasta"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        Fasta().read(path, kind="sequence", key="a" if b">a" in content else None)


def test_mutants_with_measurements_are_read_in_both_namings(tmp_path: Path) -> None:
    for name in ("score", "DMS_score"):
        path = tmp_path / f"{name}.csv"
        path.write_text(f"mutant,mutated_sequence,{name}\nA1C,CG,0.5\nA1C:G2L,CL,-1\n")
        found = MutantTable().read(path, kind="variants")
        assert found == Variants(mutants=("A1C", "A1C:G2L"), measured=(0.5, -1.0))


def test_scores_are_written_beside_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    scores = VariantScores(mutants=("A1C", "WT"), scores=[0.1, 0.0], measured=(1.0, 2.0))  # type: ignore[arg-type]
    MutantTable().write(scores, path, inputs={})
    assert path.read_text() == "mutant,score,predict_score\nA1C,1.0,0.1\nWT,2.0,0.0\n"
    back = MutantTable().read(path, kind="variant-scores")
    assert isinstance(back, VariantScores)
    assert back.mutants == scores.mutants
    assert back.scores.tolist() == [0.1, 0.0]
    assert back.measured == (1.0, 2.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column 'mutant'"),
        ("variant,score\nA1C,1\n", "its first line has variant, score"),
        ("mutant,score\n", "no mutant"),
        ("mutant,score\nA1C,high\n", "'high' is no number"),
        ("mutant,score\nA1C,nan\n", "'nan' is no number"),
        ("mutant,score\nA1C,1,2\n", "line 2 has 3 cells"),
        ("mutant\nA0C\n", "'A0C' is no mutant"),
        ("mutant\nAC\n", "'AC' is no mutant"),
        ("mutant\nA1C:A1D\n", "changes one position twice"),
        ("mutant\nA1J\n", "'A1J' is no mutant"),
    ],
)
def test_a_wrong_table_is_told_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        MutantTable().read(path, kind="variants")
    assert str(path) in str(caught.value)


def test_the_letter_that_is_there_and_the_one_that_was_said_are_named() -> None:
    with pytest.raises(InputError, match="Mutant A2C says that residue 2 is A, but it is G"):
        check_wild_type(parse("A2C"), "MGK", mutant="A2C")
    with pytest.raises(InputError, match="position 9, but the sequence has 3 residues"):
        check_wild_type(parse("K3R:A9C"), "MGK", mutant="K3R:A9C")
    variants = Variants(mutants=("M1L", "A2C"))
    with pytest.raises(InputError, match="Mutant A2C"):
        variants.check_belongs({"sequence": Sequence(letters="MGK")})


def test_mutants_are_made() -> None:
    assert mutated("MGK", parse("M1L:K3R")) == "LGR"
    assert mutated("MGK", parse("WT")) == "MGK"
    every = list(all_single("MGX"))
    assert len(every) == 19 + 19 + 20
    assert every[0] == "M1A"
    assert len({mutated("MGX", parse(one)) for one in every}) == len(every)


def test_a_heat_map_has_a_cell_for_each_single_mutant() -> None:
    from omlab_protein.heatmap import matrix

    scores = VariantScores(mutants=("M3A", "G4Y", "M3C:G4A"), scores=[-1.0, 2.0, 9.0])  # type: ignore[arg-type]
    table = matrix(scores.mutants, scores.scores)
    assert table.shape == (20, 2)
    assert table[0, 0] == -1
    assert table[19, 1] == 2
    assert table[10, 0] == 0  # M is there
    assert scores.overlay({}).startswith(b"\x89PNG")

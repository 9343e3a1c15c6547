"""Alignments, scores in the context of homologues, and structures: which residue is which."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from omlab.errors import InputError, OutputError
from omlab.payloads import Payload
from omlab_protein.alignment import Alignment
from omlab_protein.families import family_score
from omlab_protein.homologues import Homologues
from omlab_protein.network import EsmConfig, untrained
from omlab_protein.scoring import RULES, Rule, score
from omlab_protein.sequence import Sequence
from omlab_protein.structure import Residue, Structure
from omlab_protein.structure_files import ColouredStructure, StructureFile
from omlab_protein.testing import structure_of
from omlab_protein.variants import VariantScores

WILD = "MQIFVKTLTGKTITLE"
NETWORK = untrained(EsmConfig(layers=2, width=32, heads=4, feed_forward=64))


def test_an_alignment_is_read_by_the_query_s_columns(tmp_path: Path) -> None:
    a3m, fasta = tmp_path / "a.a3m", tmp_path / "a.fasta"
    a3m.write_text(">q\nMQIF\n>one\nMaaQ-F\n>two\n-QLF\n")
    fasta.write_text(">q\nM--QIF\n>one\nMAAQ-F\n>two\n-..QLF\n")
    for path in (a3m, fasta):
        assert Alignment().read(path, kind="homologues").rows == ("MQIF", "MQ-F", "-QLF")
        assert Alignment().read(path, kind="homologues", most=1).rows == ("MQIF", "MQ-F")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (">q\nMQIF\n>one\nMQ\n", "'one' has 2 columns, but the first entry has 4"),
        (">q\nMQIF\n>one\nMQJF\n", "'one' has 'J'"),
        (">q\n----\n>one\nMQIF\n", "no residue"),
        ("MQIF\n", "does not begin with '>'"),
    ],
)
def test_a_wrong_alignment_is_told(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.a3m"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        Alignment().read(path, kind="homologues")


@pytest.mark.parametrize("rule", RULES)
def test_a_family_s_score_is_the_mean_in_each_context(rule: Rule) -> None:
    """The homologue lacks the first three residues and has S at position 7, so that T7A in it is S4A minus S4T."""
    other = "---" + WILD[3:].replace("T", "S")
    mutants = ["WT", "Q2A", "T7A", "F4W:T9A"]
    found = family_score(NETWORK, WILD, Homologues(rows=(WILD, other)), mutants, rule=rule)
    alone, own = score(NETWORK, WILD, mutants, rule=rule), other[3:]
    at = score(NETWORK, own, ["S4A", "S4T", "F1W:S6A", "F1F:S6T"], rule=rule)
    wanted = [0, alone[1], (alone[2] + at[0] - at[1]) / 2, (alone[3] + at[2] - at[3]) / 2]
    assert found == pytest.approx(wanted, abs=1e-6)


def test_a_family_of_a_part_of_the_sequence_counts_there_alone() -> None:
    family = Homologues(rows=(WILD[4:10], "A" + WILD[5:10]))
    found = family_score(NETWORK, WILD, family, ["Q2A", "K6R"])
    alone = score(NETWORK, WILD, ["Q2A", "K6R"])
    assert found[0] == alone[0]
    assert found[1] != alone[1]
    with pytest.raises(InputError, match="its residue 1 is W, and the sequence has M there"):
        Homologues(rows=("WW",)).check_belongs({"sequence": Sequence(letters=WILD)})


def test_residues_are_matched_with_gaps_and_a_shift() -> None:
    found = structure_of(WILD, seen=[2, 3, 9], shift=100).positions(WILD)
    assert found == {("A", 102, ""): 2, ("A", 103, ""): 3, ("A", 109, ""): 9}


def test_insertion_codes_are_matched_in_their_order() -> None:
    residues = tuple(Residue(5, code, letter) for code, letter in zip(("", "A", "B"), WILD[3:6], strict=True))
    assert list(Structure(pdb="", chains={"H": residues}).positions(WILD).values()) == [4, 5, 6]


def test_a_structure_of_another_protein_is_told() -> None:
    other = structure_of(WILD[:6] + "W" + WILD[7:], seen=range(1, 17))
    with pytest.raises(InputError, match="chain A comes closest, but its residue 7 is W, and the sequence has T at 7"):
        other.check_belongs({"sequence": Sequence(letters=WILD)})
    with pytest.raises(InputError, match="fits the sequence at 2 places"):
        structure_of("KT", seen=[1, 2], shift=30).positions("KTAKT")


def test_scores_stand_in_the_b_factors(tmp_path: Path) -> None:
    pytest.importorskip("gemmi")
    path = tmp_path / "x.pdb"
    path.write_text(structure_of(WILD, seen=[1, 2, 4]).pdb)
    structure = StructureFile().read(path, kind="structure")
    assert structure.chains == structure_of(WILD, seen=[1, 2, 4]).chains
    scores = VariantScores(mutants=("M1A", "M1C", "F4W"), scores=np.array([1.0, 2.0, -0.25]))
    inputs: Mapping[str, Payload] = {"sequence": Sequence(letters=WILD), "structure": structure}
    ColouredStructure().write(scores, tmp_path / "y.pdb", inputs=inputs)
    rows = [line for line in (tmp_path / "y.pdb").read_text().splitlines() if line.startswith("ATOM")]
    assert [float(row[60:66]) for row in rows] == [1.5, 0.0, -0.25]
    with pytest.raises(OutputError, match="give structure="):
        ColouredStructure().write(scores, tmp_path / "z.pdb", inputs={})
    with pytest.raises(InputError, match="no protein chain 'B'; it has A"):
        StructureFile().read(path, kind="structure", chain="B")

"""Plates: what may be proposed is all that is, heads follow what was measured, and the command's files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from omlab.errors import InputError
from omlab_protein.alphabet import RESIDUES
from omlab_protein.design.heads import Floats, Heads, Mutant, Points
from omlab_protein.design.picking import favourites, take_turns
from omlab_protein.design.rounds import propose
from omlab_protein.design.space import ENUMERATED, Space
from omlab_protein.mutants import MutantTable, read_measured
from omlab_protein.substitutions import check_wild_type, parse, written
from omlab_protein.testing import structure_of

Run = Callable[..., tuple[int, str, str]]
WILD = "MQIFVKTLTGKTITLE"


def by_charge(mutants: Sequence[Mutant]) -> Floats:
    """A model that likes K and R, and dislikes every other change."""
    return np.array([sum(1.0 if one.new in "KR" else -1.0 for one in mutant) for mutant in mutants], np.float64)


def assert_said_first(page: Path) -> None:
    """A page says above all figures that weights are untrained, and at its end what it was made of."""
    text = page.read_text(encoding="utf-8")
    assert text.index("are untrained: they were drawn at random") < text.index("<main>") < text.rindex(">Provenance<")


@pytest.mark.parametrize("sites", [1, 2, 3])
def test_a_space_counts_what_it_holds(sites: int) -> None:
    space = Space(letters="MKT", sites=sites, keep={2}, avoid="CM")
    every = list(space.everything())
    assert space.size == len(every) == len(set(every))
    assert all(space.allows(mutant) for mutant in every)
    assert {len(mutant) for mutant in every} == set(range(1, min(sites, 2) + 1))
    assert not {one.new for mutant in every for one in mutant} & set("CM")


@pytest.mark.parametrize("sites", [1, 4])  # a space that is looked at whole, and one that is searched
def test_a_plate_keeps_to_its_limits_and_is_the_same_again(sites: int) -> None:
    space = Space(letters=WILD, sites=sites, keep=range(1, 5), avoid="CW")
    assert (space.size <= ENUMERATED) == (sites == 1)
    known = {parse("V5K"): 1.0, (): 0.0}
    plate = propose(space, by_charge, known, count=20, explore=0.5, seed=3)
    assert plate == propose(space, by_charge, known, count=20, explore=0.5, seed=3)
    mutants = [one.mutant for one in plate]
    assert len(set(mutants)) == 20
    assert parse("V5K") not in mutants
    for mutant in mutants:
        check_wild_type(mutant, WILD, mutant=written(mutant))
        assert space.allows(mutant)


def test_before_there_are_measurements_the_model_is_believed() -> None:
    space = Space(letters=WILD, sites=3)
    greedy = propose(space, by_charge, {}, count=10, explore=0.0, seed=0)
    assert all(one.score == 3.0 for one in greedy)
    assert {one.why for one in greedy} == {"expected"}
    curious = propose(space, by_charge, {}, count=30, explore=0.5, seed=0)
    assert [one.why for one in curious] == ["expected", "hoped for"] * 15
    hoped = {one for pick in curious for one in pick.mutant if pick.why == "hoped for"}
    assert len(hoped) > 20


def test_measurements_overrule_the_model() -> None:
    """Singles with R turn out bad, which the model likes, and those with D good: the next plate has no K and no R."""
    space = Space(letters=WILD, sites=2)
    known = {
        parse(f"{old}{n}{new}"): value for n, old in enumerate(WILD, 1) for new, value in (("D", 2.0), ("R", -2.0))
    }
    plate = propose(space, by_charge, known, count=10, explore=0.0, seed=0)
    assert not {one.new for pick in plate for one in pick.mutant} & set("KR")


def test_a_library_is_all_that_is_proposed() -> None:
    library = [parse(text) for text in ("Q2A", "Q2C:I3L", "F4W", "K6R:T7S:L8A")]
    space = Space(letters=WILD, sites=2, library=library)
    plate = propose(space, by_charge, {parse("Q2A"): 1.0}, count=4, explore=0.5, seed=0)
    assert {one.mutant for one in plate} == set(library[1:3])


def points(*texts: str) -> Points:
    mutants = [parse(text) for text in texts]
    return Points(mutants, np.zeros(len(mutants)))


def test_heads_agree_where_it_was_measured_and_differ_elsewhere() -> None:
    values = np.array([0.0, 1.0, 3.0, 2.0] * 3)
    measured = points(*["WT", "Q2A", "I3L", "F4W"] * 3)
    heads = Heads(measured, values, seed=0)
    found = heads.values(points("Q2A", "I3L", "E16K"))
    mean, spread = found.mean(axis=1), found.std(axis=1)
    assert mean[:2] == pytest.approx([1.0, 3.0], abs=0.5)
    assert spread[2] > 1.5 * spread[:2].max()


def test_the_mean_of_heads_is_ridge_regression() -> None:
    generator = np.random.default_rng(0)
    texts = [f"{old}{n}{new}" for n, old in enumerate(WILD, 1) for new in "AD" if new != old]
    scores, values = generator.normal(size=len(texts)), generator.normal(size=len(texts))
    some = Points([parse(text) for text in texts], scores)
    heads = Heads(some, values, seed=1)
    features = sorted({f for text in texts for f in _features(text)})
    design = np.array(
        [[(f in _features(text)) * np.sqrt(heads.strengths.single / 3) for f in features] for text in texts]
    )
    design = np.concatenate([design, np.ones((len(texts), 1)), scores[:, None]], axis=1)
    wanted = (values - values.mean()) / values.std()
    weights = np.linalg.solve(design.T @ design + heads.strengths.noise * np.eye(design.shape[1]), design.T @ wanted)
    assert heads.values(some).mean(axis=1) == pytest.approx(values.mean() + values.std() * (design @ weights))


def _features(text: str) -> set[str]:
    """What a head weighs of a single mutant, as texts; A and D are of different classes."""
    return {text[1:-1], text[1:], text}


def test_heads_take_turns() -> None:
    values = np.array([[5.0, 0.0], [4.0, 1.0], [0.0, 2.0], [1.0, 3.0]])
    assert take_turns(values, count=3, explore=1.0) == [(0, True), (3, True), (1, True)]
    assert take_turns(values, count=9, explore=0.0) == [(0, False), (1, False), (3, False), (2, False)]
    assert take_turns(values, count=3, explore=0.5) == [(0, False), (1, True), (3, False)]
    assert favourites(values, each=1) == [0, 3]


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "plate.csv"
    path.write_text("mutant,score,why\nQ2A,1.5,x\nI3L,,x\nF4W,-2,x\n")
    assert read_measured(path) == [("Q2A", 1.5), ("F4W", -2.0)]
    path.write_text("mutant,score,why\nQ2A,,x\n")
    with pytest.raises(InputError, match="no score in the column 'score' yet"):
        read_measured(path)
    assert MutantTable().read(path, kind="variants").measured is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["measured=a.csv"], "a.csv does not fit the wild type: Mutant A2C says that residue 2 is A, but it is Q"),
        (["mutants=b.csv"], "only 1 may be made"),
        (["mutants=none.csv"], "none.csv does not exist"),
        (["--keep", "x"], "'x' is no position"),
        (["--keep", "99"], "Position 99 cannot be kept"),
        (["--avoid", "J"], "'J' cannot be avoided"),
        (["scores=a.csv"], "not 'scores'"),
    ],
)
def test_what_is_wrong_is_told(words: list[str], said: str, here: Path, run: Run) -> None:
    (here / "wild.fasta").write_text(f">wild\n{WILD}\n")
    (here / "a.csv").write_text("mutant,score\nA2C,1\n")
    (here / "b.csv").write_text("mutant\nQ2C\n")
    status, _, err = run("design", "charges", "wild.fasta", *words, "-o", "plate.csv")
    assert status == 2
    assert said in err
    assert not (here / "plate.csv").exists()


def test_a_plate_is_measured_and_gives_the_next(here: Path, run: Run) -> None:
    (here / "wild.fasta").write_text(f">wild\n{WILD}\n")
    first = ("design", "charges", "wild.fasta", "--sites", "2", "--batch", "5", "-o", "one.csv")
    assert run(*first)[0] == 0
    assert "complete already" in run(*first)[2]
    with (here / "one.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["score"] for row in rows] == [""] * 5
    assert all(set(row["sequence"]) <= set(RESIDUES) and len(row["sequence"]) == len(WILD) for row in rows)
    assert (here / "one.fasta").read_text().count(">") == 5
    assert "What is expected" in (here / "one.html").read_text()
    assert_said_first(here / "one.html")
    (here / "one.csv").write_text((here / "one.csv").read_text().replace(",,", ",0.5,"))
    assert run("design", "charges", "wild.fasta", "measured=one.csv", "--batch", "4", "-o", "two.csv")[0] == 0
    found = MutantTable().read(here / "two.csv", kind="variants")
    assert not {row["mutant"] for row in rows} & set(found.mutants)


def test_scores_come_with_a_page_and_on_a_structure(here: Path, run: Run) -> None:
    (here / "wild.fasta").write_text(f">wild\n{WILD}\n")
    (here / "x.pdb").write_text(structure_of(WILD, seen=[1, 2, 4], shift=10).pdb)
    assert run("score", "charges", "wild.fasta", "structure=x.pdb", "-o", "scan")[0] == 0
    assert {path.name for path in (here / "scan").iterdir()} >= {"wild.csv", "wild.html", "wild.scores.pdb"}
    (here / "x.pdb").write_text(structure_of("WWWW", seen=[1, 2, 3]).pdb)
    assert_said_first(here / "scan" / "wild.html")
    status, _, err = run("score", "charges", "wild.fasta", "structure=x.pdb", "-o", "other")
    assert status
    assert "its residue 1 is W, and the sequence has M at 1" in err

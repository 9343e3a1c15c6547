"""Rounds of `omlab design` against picks at random and greedy ones, on landscapes whose every value is known.

    python packages/omlab-protein/benchmarks/design.py                      # drawn landscapes with epistasis
    python packages/omlab-protein/benchmarks/design.py --table gb1.csv      # a published one: mutant, score

Every policy measures a plate a round, with noise on drawn landscapes, and is judged by the true value of the best
mutant that it has measured. `zero-shot` takes the model's best at once, `greedy` refits the same heads and takes
those with the highest expectation. A published table may have the model's scores beside (`predict_score`, as
`omlab score` writes them); without them all policies begin at random. Writes rows to design.csv and docs' picture.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from omlab_protein.alphabet import RESIDUES
from omlab_protein.design.heads import CLASSES, Floats, Mutant
from omlab_protein.design.rounds import propose
from omlab_protein.design.space import Space
from omlab_protein.mutants import MutantTable
from omlab_protein.substitutions import Substitution, parse
from omlab_protein.variants import Variants

POLICIES = ("random", "zero-shot", "greedy", "design")
EXPLORE = {"greedy": 0.0, "design": 1.0}


@dataclass(frozen=True)
class Landscape:
    """Mutants that may be made, their true values, what a model says of them, and the noise of a measurement."""

    space: Space
    truth: Callable[[Sequence[Mutant]], Floats]
    model: Callable[[Sequence[Mutant]], Floats]
    noise: float


def drawn(seed: int, *, length: int = 20, sites: int = 4, contacts: int = 3, correlation: float = 0.4) -> Landscape:
    """Effects by site, class and residue, most of them bad; pairs of sites that interact; values that saturate.

    The model knows the effects of single substitutions as badly as language models do (`correlation` with the truth),
    and nothing of pairs.
    """
    generator = np.random.default_rng(seed)
    letters = "".join(generator.choice(list(RESIDUES), size=length))
    weight = generator.gamma(1.0, 1.0, size=length)
    effect: dict[Substitution, float] = {}
    for position, old in enumerate(letters, start=1):
        by_class = dict(zip(sorted(set(CLASSES.values())), generator.normal(size=7), strict=True))
        for new in RESIDUES:
            if new != old:
                own = (by_class[CLASSES[new]] + generator.normal()) / np.sqrt(2)
                effect[Substitution(old, position, new)] = float(weight[position - 1] * (own - 1.0))
    spread = float(np.std(list(effect.values())))
    partners = generator.permutation(np.repeat(np.arange(1, length + 1), contacts)).reshape(-1, 2)
    touching = {tuple(sorted(pair)) for pair in partners.tolist() if pair[0] != pair[1]}
    pairs: dict[tuple[Substitution, Substitution], float] = {}
    for one in effect:
        for other in effect:
            if (one.position, other.position) in touching:
                pairs[one, other] = float(generator.normal() * spread)
    noisy = np.sqrt(1 / correlation**2 - 1) * spread
    known = {one: value + float(generator.normal() * noisy) for one, value in effect.items()}

    def truth(mutants: Sequence[Mutant]) -> Floats:
        sums = np.array(
            [
                sum(effect[one] for one in mutant)
                + sum(pairs.get((one, other), 0.0) for one in mutant for other in mutant)
                for mutant in mutants
            ]
        )
        return np.asarray(np.log1p(np.exp(sums / spread)))

    def model(mutants: Sequence[Mutant]) -> Floats:
        return np.array([sum(known[one] for one in mutant) for mutant in mutants], np.float64)

    return Landscape(Space(letters=letters, sites=sites), truth, model, noise=0.1)


def published(table: Path) -> Landscape:
    """A measured landscape: the mutants of a table are all that may be made."""
    found = MutantTable().read(table, kind="variants")
    assert isinstance(found, Variants)
    if found.measured is None:
        raise SystemExit(f"{table} has no column 'score'.")
    value = dict(zip(map(parse, found.mutants), found.measured, strict=True))
    with table.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    said = {parse(row["mutant"]): float(row["predict_score"]) for row in rows} if "predict_score" in rows[0] else {}
    letters = ["X"] * max(one.position for mutant in value for one in mutant)
    for one in (one for mutant in value for one in mutant):
        letters[one.position - 1] = one.old
    library = [mutant for mutant in value if mutant]
    space = Space(letters="".join(letters), sites=max(map(len, library)), library=library)
    return Landscape(
        space,
        truth=lambda mutants: np.array([value[mutant] for mutant in mutants]),
        model=lambda mutants: np.array([said.get(mutant, 0.0) for mutant in mutants]),
        noise=0.0,
    )


def best_by_round(landscape: Landscape, policy: str, *, rounds: int, count: int, seed: int) -> list[float]:
    """The true value of the best mutant that a policy has measured after each round."""
    generator = np.random.default_rng(seed)
    measured: dict[Mutant, float] = {}
    best, found = -np.inf, []
    for number in range(rounds):
        plate = _plate(landscape, policy, measured, count=count, seed=seed * rounds + number)
        truth = landscape.truth(plate)
        measured |= zip(plate, (truth + generator.normal(size=len(plate)) * landscape.noise).tolist(), strict=True)
        best = max(best, float(truth.max()))
        found.append(best)
    return found


def _plate(
    landscape: Landscape,
    policy: str,
    measured: Mapping[Mutant, float],
    *,
    count: int,
    seed: int,
) -> list[Mutant]:
    space, is_first = landscape.space, not measured
    informed = bool(np.ptp(landscape.model(space.singles()[:50])) > 0) if space.library is None else _says(landscape)
    if policy == "random" or (is_first and not informed):
        return _at_random(space, measured, count=count, chance=Random(seed))
    if policy == "zero-shot":
        found = propose(space, landscape.model, {}, count=len(measured) + count, explore=0.0, seed=seed)
        return [one.mutant for one in found if one.mutant not in measured][:count]
    found = propose(space, landscape.model, measured, count=count, explore=EXPLORE[policy], seed=seed)
    return [one.mutant for one in found]


def _says(landscape: Landscape) -> bool:
    assert landscape.space.library is not None
    return bool(np.ptp(landscape.model(landscape.space.library)) > 0)


def _at_random(space: Space, measured: Mapping[Mutant, float], *, count: int, chance: Random) -> list[Mutant]:
    found: dict[Mutant, None] = {}
    while len(found) < count:
        mutant = space.drawn(chance)
        if mutant not in measured:
            found[mutant] = None
    return list(found)


def main() -> None:
    """Run the policies, print the table, write rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    given = parser.parse_args()
    rows: list[tuple[str, int, int, float]] = []
    for seed in range(given.seeds):
        landscape = published(given.table) if given.table else drawn(seed)
        for policy in POLICIES:
            best = best_by_round(landscape, policy, rounds=given.rounds, count=given.batch, seed=seed)
            rows += [(policy, seed, number, round(value, 4)) for number, value in enumerate(best, start=1)]
        print(
            seed, {policy: [v for p, s, _, v in rows if p == policy and s == seed] for policy in POLICIES}, flush=True
        )


if __name__ == "__main__":
    main()

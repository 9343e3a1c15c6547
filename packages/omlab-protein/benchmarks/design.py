"""Rounds of `omlab design` against picks at random and greedy ones, on landscapes whose every value is known.

    python packages/omlab-protein/benchmarks/design.py                      # drawn landscapes with epistasis
    python packages/omlab-protein/benchmarks/design.py --table gb1.csv      # a published one: mutant, score

Every policy measures a plate a round, with noise on drawn landscapes, and is judged by the true value of the best
mutant that it has measured. `greedy` takes the model's best that are left; `explore 0` fits the ensemble and takes what
its mean expects most of: a design that does not explore. A published table may have the model's scores beside
(`predict_score`, as `omlab score` writes them); without them all policies begin at random. Writes rows and a picture.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
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

POLICIES = ("random", "greedy", "explore 0", "design")
EXPLORE = {"explore 0": 0.0, "design": 0.5}


@dataclass(frozen=True)
class Landscape:
    """Mutants that may be made, their true values, what a model says of them, and the noise of a measurement."""

    space: Space
    truth: Callable[[Sequence[Mutant]], Floats]
    model: Callable[[Sequence[Mutant]], Floats]
    noise: float
    informed: bool = True
    """Whether the model says anything."""


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
        informed=bool(said),
    )


def highest(landscape: Landscape, *, climbs: int = 12) -> float:
    """The highest value that climbing from drawn mutants finds; of a table its highest."""
    space, chance = landscape.space, Random(0)
    if space.library is not None:
        return float(landscape.truth(space.library).max())
    best = -np.inf
    for _ in range(climbs):
        here, value = space.drawn(chance), -np.inf
        while True:
            around = list(_neighbours(space, here))
            values = landscape.truth(around)
            if values.max() <= value:
                break
            here, value = around[int(values.argmax())], float(values.max())
        best = max(best, value)
    return best


def _neighbours(space: Space, mutant: Mutant) -> Iterator[Mutant]:
    """Mutants with one substitution put in, in place of any other where there are as many as may be."""
    for position in space.positions:
        others = [one for one in mutant if one.position != position]
        kept = [others] if len(others) < space.sites else [[*others[:n], *others[n + 1 :]] for n in range(len(others))]
        for rest in kept:
            yield from (tuple(sorted((*rest, new), key=lambda one: one.position)) for new in space.options[position])


def best_by_round(landscape: Landscape, policy: str, *, rounds: int, count: int, seed: int) -> list[float]:
    """The true value of the best mutant that a policy has measured after each round."""
    generator = np.random.default_rng(seed)
    measured: dict[Mutant, float] = {}
    best, found = -np.inf, []
    plates = _plates(landscape, policy, measured, rounds=rounds, count=count, seed=seed)
    for plate in plates:
        truth = landscape.truth(plate)
        measured |= zip(plate, (truth + generator.normal(size=len(plate)) * landscape.noise).tolist(), strict=True)
        best = max(best, float(truth.max()))
        found.append(best)
    return found


def _plates(
    landscape: Landscape, policy: str, measured: Mapping[Mutant, float], *, rounds: int, count: int, seed: int
) -> Iterator[list[Mutant]]:
    """A plate a round, given what was measured until then."""
    space = landscape.space
    at_random = _at_random(space, count=rounds * count, seed=seed)
    if policy == "random" or (policy == "greedy" and not landscape.informed):
        yield from (at_random[start : start + count] for start in range(0, rounds * count, count))
        return
    if policy == "greedy":
        order = propose(space, landscape.model, {}, count=rounds * count, explore=0.0, seed=seed)
        order = sorted(order, key=lambda one: -one.score)
        yield from ([one.mutant for one in order[n : n + count]] for n in range(0, rounds * count, count))
        return
    for number in range(rounds):
        if not measured and not landscape.informed:
            yield at_random[:count]
            continue
        found = propose(
            space, landscape.model, measured, count=count, explore=EXPLORE[policy], seed=seed * rounds + number
        )
        yield [one.mutant for one in found]


def _at_random(space: Space, *, count: int, seed: int) -> list[Mutant]:
    chance = Random(seed)
    found: dict[Mutant, None] = {}
    while len(found) < count:
        found[space.drawn(chance)] = None
    return list(found)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean with its 95 % interval: a bootstrap over seeds."""
    drawn_means = np.random.default_rng(0).choice(np.array(values), size=(10_000, len(values))).mean(axis=1)
    return float(np.mean(values)), *np.percentile(drawn_means, [2.5, 97.5]).tolist()


def table(rows: Sequence[tuple[str, int, int, float]], *, last: int) -> None:
    """Print each policy after the last round, and what `design` has more than it on the same landscapes."""
    print("| policy | best measured, share of the highest | design has more |\n|---|---|---|")
    ends = {policy: [value for name, _, n, value in rows if (name, n) == (policy, last)] for policy in POLICIES}
    for policy, values in ends.items():
        more = [ours - theirs for ours, theirs in zip(ends["design"], values, strict=True)]
        print(
            f"| {policy} |",
            " | ".join("{:.3f} [{:.3f}, {:.3f}]".format(*interval(each)) for each in (values, more)),
            "|",
        )


def picture(rows: Sequence[tuple[str, int, int, float]], path: Path, *, batch: int) -> None:
    """The mean of each policy by round, with intervals."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(7, 3.6), dpi=120, layout="constrained")
    axes = canvas.subplots()
    for policy in POLICIES:
        rounds = sorted({number for name, _, number, _ in rows if name == policy})
        points = [interval([v for name, _, n, v in rows if (name, n) == (policy, number)]) for number in rounds]
        mean, low, high = zip(*points, strict=True)
        axes.plot(rounds, mean, marker="o", markersize=4, label=policy)
        axes.fill_between(rounds, low, high, alpha=0.2, linewidth=0)
    axes.set_xlabel(f"round ({batch} mutants each)")
    axes.set_ylabel("best measured, share of the highest")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    canvas.savefig(path)


def main() -> None:
    """Run the policies, write rows and picture, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="a published landscape: mutant, score, perhaps predict_score")
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    given = parser.parse_args()
    rows: list[tuple[str, int, int, float]] = []
    for seed in range(given.seeds):
        landscape = published(given.table) if given.table else drawn(seed)
        most = highest(landscape)
        for policy in POLICIES:
            best = best_by_round(landscape, policy, rounds=given.rounds, count=given.batch, seed=seed)
            rows += [(policy, seed, number, round(value / most, 4)) for number, value in enumerate(best, start=1)]
        with given.output.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([("policy", "seed", "round", "best"), *rows])
    table(rows, last=given.rounds)
    picture(rows, given.output.with_suffix(".png"), batch=given.batch)


if __name__ == "__main__":
    main()

"""What may be proposed: mutants of a wild type within limits, or those of a library; and a search among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from random import Random

import numpy as np

from omlab_protein.alphabet import RESIDUES
from omlab_protein.design.heads import Floats, Mutant
from omlab_protein.design.picking import favourites, take_turns
from omlab_protein.substitutions import Substitution

ENUMERATED = 20_000
"""A space of no more mutants is looked at whole."""
GENERATIONS, CHILDREN, PARENTS = 8, 400, 3
"""Of the search in a larger space, how many are made in each, and of how many favourites of each head."""
PART = 4096

Says = Callable[[Sequence[Mutant]], Floats]
"""What heads say of mutants: (N, heads)."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """Mutants that may be proposed.

    Attributes:
        letters: The wild type.
        sites: Substitutions that a mutant has at most.
        keep: Positions, from 1, that do not change.
        avoid: Residues that are not put in.
        library: The only mutants that may be proposed, where it is not None; limits hold for them too.
    """

    letters: str
    sites: int = 1
    keep: Collection[int] = field(default_factory=frozenset)
    avoid: str = ""
    library: Sequence[Mutant] | None = None

    def allows(self, mutant: Mutant) -> bool:
        """Whether a mutant is within the limits."""
        return 0 < len(mutant) <= self.sites and all(
            one.position not in self.keep and one.new in RESIDUES and one.new not in self.avoid for one in mutant
        )

    @cached_property
    def options(self) -> dict[int, list[Substitution]]:
        """The substitutions that may be made, by position."""
        if self.library is not None:
            every = dict.fromkeys(one for mutant in self._whole for one in mutant)
        else:
            residues = [residue for residue in RESIDUES if residue not in self.avoid]
            every = dict.fromkeys(
                Substitution(old, position, new)
                for position, old in enumerate(self.letters, start=1)
                if position not in self.keep
                for new in residues
                if new != old
            )
        found: dict[int, list[Substitution]] = {}
        for one in every:
            found.setdefault(one.position, []).append(one)
        return found

    @cached_property
    def positions(self) -> list[int]:
        """Those that may change."""
        return list(self.options)

    def singles(self) -> list[Mutant]:
        """Each substitution that may be made, by itself."""
        return [(one,) for options in self.options.values() for one in options]

    @cached_property
    def size(self) -> int:
        """How many mutants there are."""
        if self.library is not None:
            return len(self._whole)
        ways = [1] + [0] * self.sites  # of k sites: the elementary symmetric polynomials of the options
        for options in self.options.values():
            for count in range(self.sites, 0, -1):
                ways[count] += ways[count - 1] * len(options)
        return sum(ways[1:])

    @cached_property
    def _whole(self) -> list[Mutant]:
        return list(dict.fromkeys(filter(self.allows, self.library or ())))

    def everything(self) -> Iterator[Mutant]:
        """Each mutant, once."""
        if self.library is not None:
            yield from self._whole
            return
        for count in range(1, self.sites + 1):
            for positions in combinations(self.options, count):
                yield from product(*(self.options[position] for position in positions))

    def drawn(self, chance: Random) -> Mutant:
        """A mutant at random: a number of sites, then sites, then residues; of a library any."""
        if self.library is not None:
            return chance.choice(self._whole)
        count = chance.randint(1, min(self.sites, len(self.options)))
        positions = sorted(chance.sample(self.positions, count))
        return tuple(chance.choice(self.options[position]) for position in positions)


def search(
    space: Space,
    says: Says,
    *,
    known: Collection[Mutant],
    start: Sequence[Mutant],
    most: int,
    explore: float,
    chance: Random,
) -> list[Mutant]:
    """`most` mutants that are not `known`, picked by turns (`take_turns`); fewer where there are no more.

    A small space, or a library, is looked at whole. In a larger one mutants breed: from single ones, drawn ones and
    `start`, the heads' favourites share their substitutions, are changed at a site, gain one, or lose one.
    """
    if space.library is not None or space.size <= ENUMERATED:
        return _nominated(
            [mutant for mutant in space.everything() if mutant not in known], says, most=most, explore=explore
        )
    found = list(dict.fromkeys((*space.singles(), *filter(space.allows, start), *_drawn(space, chance))))
    values = says(found)
    for _ in range(GENERATIONS):
        parents = [found[n] for n in favourites(values, each=PARENTS)]
        seen = set(found)
        new = [child for child in _children(space, parents, chance) if child not in seen]
        if new:
            found, values = [*found, *new], np.concatenate([values, says(new)])
    left = [n for n, mutant in enumerate(found) if mutant not in known]
    return [found[left[one.number]] for one in take_turns(values[left], count=most, explore=explore)]


def _drawn(space: Space, chance: Random) -> Iterator[Mutant]:
    return (space.drawn(chance) for _ in range(CHILDREN))


def _nominated(mutants: list[Mutant], says: Says, *, most: int, explore: float) -> list[Mutant]:
    """Looked at in parts, so that memory stays small."""
    kept: list[Mutant] = []
    for start in range(0, len(mutants), PART):
        part = [*kept, *mutants[start : start + PART]]
        kept = [part[one.number] for one in take_turns(says(part), count=most, explore=explore)]
    return kept


def _children(space: Space, parents: Sequence[Mutant], chance: Random) -> list[Mutant]:
    pairs = (chance.choices(parents, k=2) for _ in range(CHILDREN))
    return list(dict.fromkeys(_child(space, one, other, chance) for one, other in pairs))


def _child(space: Space, one: Mutant, other: Mutant, chance: Random) -> Mutant:
    """Substitutions of two parents, with one that is made anew or left out."""
    sites = {each.position: each for each in one}
    sites |= {each.position: each for each in other if chance.random() < 0.5}
    if chance.random() < 0.5:
        new = chance.choice(space.options[chance.choice(space.positions)])
        sites[new.position] = new
    while len(sites) > space.sites or (len(sites) > 1 and chance.random() < 0.2):
        del sites[chance.choice(list(sites))]
    return tuple(sites[position] for position in sorted(sites))

"""Scores of mutants by a network for masked residues: log p(new) - log p(old), summed over the sites.

Meier et al., Language models enable zero-shot prediction of the effects of mutations on protein function, NeurIPS 2021.
Probabilities are those of all outputs, special tokens included.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab import progress
from omlab.errors import UsageError
from omlab_protein.alphabet import INDEX, MASK, encode
from omlab_protein.network import Layout, packed
from omlab_protein.roles import ResidueNetwork
from omlab_protein.substitutions import check_wild_type, parse
from omlab_protein.windows import Window, windows_for

Rule = Literal["wild-type", "masked", "masked-together"]
RULES: tuple[Rule, ...] = ("wild-type", "masked", "masked-together")
Positions = tuple[int, ...]
Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]


def score(
    network: ResidueNetwork,
    letters: str,
    mutants: Sequence[str],
    *,
    rule: Rule = "wild-type",
    longest: int = 1022,
    tokens: int = 4096,
) -> Floats:
    """A score (mutants,) for each mutant of the sequence; 0 for the wild type.

    Millions of mutants go at once: one takes about 140 bytes beside its text.

    Args:
        network: With a head.
        letters: The wild type.
        mutants: Such as `A23G:L30P`.
        rule: "wild-type": one pass over the sequence as it is. "masked": each site by itself behind a mask token.
            "masked-together": all sites of a mutant masked at once.
        longest: Residues that the network sees at once; longer sequences are cut into windows (`windows_for`).
        tokens: Tokens that go through the network at once where there are many passes.

    Raises:
        InputError: A mutant's old residue is not the sequence's, or its sites do not fit into a window.
        UsageError: A masked rule, and the network has no mask token.
    """
    if rule not in RULES:
        raise UsageError(f"The rule '{rule}' is not known; there are {', '.join(RULES)}.")
    if rule != "wild-type" and not network.config.masks:
        raise UsageError("This network has no mask token: only wild-type marginals can be had of it.")
    sites = _Sites.of(mutants, letters)
    scores = np.zeros(len(mutants))
    for window in windows_for(*sites.spans(), length=len(letters), longest=longest):
        inside = letters[window.start : window.stop]
        scores[window.kept] = _in_window(network, inside, sites.within(window), rule=rule, tokens=tokens)
    return scores


def log_probabilities(network: ResidueNetwork, letters: str) -> Tensor:
    """Wild-type marginals: log p (tokens, outputs) at every token of the sequence as it is, float32 on the CPU."""
    tokens, layout = packed([encode(letters, vocabulary=network.config.vocabulary)], device=network.device)
    with torch.inference_mode():
        logits: Tensor = network(tokens, layout)
    return logits.float().log_softmax(dim=-1).cpu()


def masked_log_probabilities(
    network: ResidueNetwork, letters: str, masks: Sequence[Positions], *, tokens: int = 4096
) -> Iterator[Tensor]:
    """For each set of positions (from 1), log p (positions, outputs) there while these are behind mask tokens.

    Copies of the sequence go through the network side by side, `tokens` tokens at once; its head sees the masked rows
    alone.
    """
    plain = torch.tensor(encode(letters, vocabulary=network.config.vocabulary))
    at_once = max(1, tokens // len(plain))
    with progress.bar("masked passes", total=len(masks)) as advance:
        for begin in range(0, len(masks), at_once):
            part = masks[begin : begin + at_once]
            rows = torch.tensor([copy * len(plain) + site for copy, sites in enumerate(part) for site in sites])
            copies = plain.repeat(len(part)).index_fill(0, rows, MASK).to(network.device)
            layout = Layout.of([len(plain)] * len(part), device=network.device)
            with torch.inference_mode():
                logits = network(copies, layout, rows=rows.to(network.device))
            yield from torch.split(logits.float().log_softmax(dim=-1).cpu(), [len(sites) for sites in part])
            advance(len(part))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Sites:
    """The sites of all mutants one after the other: `counts` (mutants,) of each, their positions (from 1), tokens."""

    counts: Numbers
    position: Numbers
    old: NDArray[np.int8]
    new: NDArray[np.int8]

    @classmethod
    def of(cls, mutants: Sequence[str], letters: str) -> _Sites:
        """The sites of mutants that fit the sequence. Raises `InputError`."""
        counts, position, old, new = array("q"), array("q"), array("b"), array("b")
        for mutant in mutants:
            substitutions = parse(mutant)
            check_wild_type(substitutions, letters, mutant=mutant)
            counts.append(len(substitutions))
            for one in substitutions:
                position.append(one.position)
                old.append(INDEX[one.old])
                new.append(INDEX[one.new])
        return cls(
            counts=np.array(counts, np.int64),
            position=np.array(position, np.int64),
            old=np.array(old, np.int8),
            new=np.array(new, np.int8),
        )

    @property
    def owner(self) -> Numbers:
        """Which mutant each site is of."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def spans(self) -> tuple[Numbers, Numbers]:
        """The first and the last site of each mutant, counted from 0; -1 for the wild type."""
        first, last = np.full(len(self.counts), np.iinfo(np.int64).max), np.full(len(self.counts), -1)
        np.minimum.at(first, self.owner, self.position - 1)
        np.maximum.at(last, self.owner, self.position - 1)
        return np.where(self.counts > 0, first, -1), last

    def within(self, window: Window) -> _Sites:
        """Those of the mutants that a window keeps, their positions counted in it."""
        kept = np.zeros(len(self.counts), bool)
        kept[window.kept] = True
        here = kept[self.owner]
        return _Sites(
            counts=self.counts[window.kept],
            position=self.position[here] - window.start,
            old=self.old[here],
            new=self.new[here],
        )


def _in_window(network: ResidueNetwork, letters: str, sites: _Sites, *, rule: Rule, tokens: int) -> Floats:
    """Sums of gains over the sites of each mutant."""
    if rule == "wild-type":
        table = log_probabilities(network, letters).numpy()
        gains = table[sites.position, sites.new] - table[sites.position, sites.old]
    elif rule == "masked":
        positions, row = np.unique(sites.position, return_inverse=True)
        alone = [(int(position),) for position in positions]
        found = [one[0].numpy() for one in masked_log_probabilities(network, letters, alone, tokens=tokens)]
        table = np.stack(found) if found else np.zeros((0, network.config.outputs), np.float32)
        gains = table[row, sites.new] - table[row, sites.old]
    else:
        gains = _gains_together(network, letters, sites, tokens=tokens)
    return np.bincount(sites.owner, weights=gains, minlength=len(sites.counts)).astype(np.float64)


def _gains_together(network: ResidueNetwork, letters: str, sites: _Sites, *, tokens: int) -> NDArray[np.float32]:
    """The gain at each site while all sites of its mutant are masked; mutants of the same sites share a pass."""
    ends = np.cumsum(sites.counts)
    starts: dict[Positions, list[int]] = {}
    for begin, end in zip((ends - sites.counts).tolist(), ends.tolist(), strict=True):
        if end > begin:
            starts.setdefault(tuple(sites.position[begin:end].tolist()), []).append(begin)
    gains = np.zeros(len(sites.position), np.float32)
    passes = masked_log_probabilities(network, letters, list(starts), tokens=tokens)
    for begins, table in zip(starts.values(), passes, strict=True):
        row = np.arange(len(table))
        places = np.array(begins)[:, None] + row  # (mutants, sites)
        rows = table.numpy()
        gains[places] = rows[row, sites.new[places]] - rows[row, sites.old[places]]
    return gains

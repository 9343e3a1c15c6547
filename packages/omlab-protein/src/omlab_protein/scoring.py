"""Scores of mutants by a network for masked residues: log p(new) - log p(old), summed over the sites.

Meier et al., Language models enable zero-shot prediction of the effects of mutations on protein function, NeurIPS 2021.
Probabilities are those of all outputs, special tokens included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab.errors import UsageError
from omlab_protein.alphabet import INDEX, MASK, encode
from omlab_protein.network import packed
from omlab_protein.roles import ResidueNetwork
from omlab_protein.substitutions import Substitution, check_wild_type, parse
from omlab_protein.windows import windows_for

Rule = Literal["wild-type", "masked", "masked-together"]
RULES: tuple[Rule, ...] = ("wild-type", "masked", "masked-together")
Sites = tuple[int, ...]


def score(
    network: ResidueNetwork,
    letters: str,
    mutants: Sequence[str],
    *,
    rule: Rule = "wild-type",
    longest: int = 1022,
    tokens: int = 4096,
) -> NDArray[np.float64]:
    """A score (mutants,) for each mutant of the sequence; 0 for the wild type.

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
    parsed = [parse(mutant) for mutant in mutants]
    for mutant, substitutions in zip(mutants, parsed, strict=True):
        check_wild_type(substitutions, letters, mutant=mutant)
    scores = np.zeros(len(mutants))
    for window in windows_for(parsed, length=len(letters), longest=longest):
        inside = letters[window.start : window.stop]
        moved = [
            tuple(one._replace(position=one.position - window.start) for one in parsed[number])
            for number in window.kept
        ]
        scores[list(window.kept)] = _in_window(network, inside, moved, rule=rule, tokens=tokens)
    return scores


def log_probabilities(network: ResidueNetwork, letters: str) -> Tensor:
    """Wild-type marginals: log p (tokens, outputs) at every token of the sequence as it is, float32 on the CPU."""
    tokens, layout = packed([encode(letters, vocabulary=network.config.vocabulary)], device=network.device)
    with torch.inference_mode():
        logits: Tensor = network(tokens, layout)
    return logits.float().log_softmax(dim=-1).cpu()


def masked_log_probabilities(
    network: ResidueNetwork, letters: str, masks: Sequence[Sites], *, tokens: int = 4096
) -> list[Tensor]:
    """For each set of positions (from 1), log p (positions, outputs) there while these are behind mask tokens.

    Copies of the sequence go through the network side by side, `tokens` tokens at once; its head sees the masked rows
    alone.
    """
    plain = encode(letters, vocabulary=network.config.vocabulary)
    at_once = max(1, tokens // len(plain))
    found: list[Tensor] = []
    for begin in range(0, len(masks), at_once):
        part = masks[begin : begin + at_once]
        copies = [[MASK if n in set(sites) else token for n, token in enumerate(plain)] for sites in part]
        batch, layout = packed(copies, device=network.device)
        rows = [copy * len(plain) + site for copy, sites in enumerate(part) for site in sites]
        with torch.inference_mode():
            logits = network(batch, layout, rows=torch.tensor(rows, device=network.device))
        found.extend(torch.split(logits.float().log_softmax(dim=-1).cpu(), [len(sites) for sites in part]))
    return found


def _in_window(
    network: ResidueNetwork, letters: str, mutants: Sequence[Sequence[Substitution]], *, rule: Rule, tokens: int
) -> NDArray[np.float64]:
    """Rows of log p by the sites that were masked for them, then one gather for all sites."""
    if rule == "wild-type":
        table = log_probabilities(network, letters)
        rows = [one.position for mutant in mutants for one in mutant]
    else:
        together = rule == "masked-together"
        asked = [tuple(one.position for one in mutant) for mutant in mutants if mutant]
        masks = list(dict.fromkeys(asked if together else [(site,) for sites in asked for site in sites]))
        found = masked_log_probabilities(network, letters, masks, tokens=tokens)
        table = torch.cat(found) if found else torch.zeros(0, network.config.outputs)
        row_of = {
            (sites, site): number
            for number, (sites, site) in enumerate((sites, site) for sites in masks for site in sites)
        }
        rows = [row_of[sites if together else (site,), site] for sites in asked for site in sites]
    new, old = ([INDEX[getattr(one, name)] for mutant in mutants for one in mutant] for name in ("new", "old"))
    gains = (table[rows, new] - table[rows, old]).double().numpy()
    owner = np.repeat(np.arange(len(mutants)), [len(mutant) for mutant in mutants])
    return np.bincount(owner, weights=gains, minlength=len(mutants)).astype(np.float64)

"""ESM-1v as its authors use it: the mean of the scores of five members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from omlab.card_schema import ModelCard
from omlab.errors import OmlabError
from omlab.payloads import Inputs
from omlab.weights import Weights
from omlab_esm.model import SIZES, bounded, network_of
from omlab_protein.language_model import LanguageModel
from omlab_protein.network import Esm, untrained
from omlab_protein.variants import VariantScores

MEMBERS = 5


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> Ensemble:
    """The entry of the card. Raises `WeightsError` where a member's file is of another network, or not whole."""
    wanted = SIZES["esm1v"]
    if weights is None:
        networks = [untrained(wanted, seed=seed) for seed in range(MEMBERS)]
    else:
        networks = [
            network_of(weights.state_dict(name), source=path, wanted=wanted, name=card.name)
            for name, path in weights.files.items()
        ]
    return Ensemble(
        [LanguageModel(one, name=card.name, device=device, settings=bounded(settings, one)) for one in networks]
    )


class Ensemble:
    """The verb `score`: the mean over the members."""

    def __init__(self, members: Sequence[LanguageModel[Esm]]) -> None:
        self.members = members
        self.module = nn.ModuleList(member.module for member in members)

    def score(self, batch: Sequence[Inputs], /, *, rule: str = "wild-type") -> Iterator[VariantScores | OmlabError]:
        """The mean score of each variant; where a member cannot score a protein, its reason."""
        for told in zip(*(member.score(batch, rule=rule) for member in self.members), strict=True):
            tables = [one for one in told if isinstance(one, VariantScores)]
            if len(tables) < len(told):
                yield next(one for one in told if isinstance(one, OmlabError))
                continue
            mean = np.mean([table.scores for table in tables], axis=0)
            yield VariantScores(mutants=tables[0].mutants, scores=mean, measured=tables[0].measured)

"""A network for masked residues as a model of omlab: scores of mutants, and embeddings; what PRIME and ESM share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Generic, TypeVar

import torch

import omlab
from omlab.errors import OmlabError, WeightsError
from omlab.payloads import Inputs
from omlab_payloads.embedding import Embedding
from omlab_protein import sequence
from omlab_protein.alphabet import encode
from omlab_protein.families import family_score
from omlab_protein.homologues import Homologues
from omlab_protein.network import EsmConfig, Layout, packed
from omlab_protein.roles import FeatureNetwork, ResidueNetwork
from omlab_protein.scoring import score
from omlab_protein.substitutions import all_single
from omlab_protein.variants import Variants, VariantScores

Network = TypeVar("Network", bound=ResidueNetwork)


class LanguageModel(Generic[Network]):
    """The verbs `score` and `embed`.

    Args:
        module: The network, with a head.
        name: Of the card.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card: `longest` (residues at once) and `tokens` (tokens at once).
    """

    def __init__(self, module: Network, *, name: str, device: str, settings: Mapping[str, Any]) -> None:
        self.module = module.to(device).eval()
        self.name, self.settings = name, dict(settings)

    def score(self, batch: Sequence[Inputs], /, *, rule: Any = "wild-type") -> Iterator[VariantScores | OmlabError]:
        """The score of each variant, or of every single mutant where no variants are given.

        With `homologues` it is the mean over them and the sequence. A `structure` is for the files that are written.
        """
        for inputs in batch:
            letters = omlab.take(inputs, "sequence", sequence.Sequence).letters
            given = omlab.take(inputs, "mutants", Variants) if "mutants" in inputs else None
            mutants = list(all_single(letters)) if given is None else list(given.mutants)
            how = {"rule": rule, "longest": self.settings["longest"], "tokens": self.settings["tokens"]}
            try:
                if "homologues" in inputs:
                    family = omlab.take(inputs, "homologues", Homologues)
                    scores = family_score(self.module, letters, family, mutants, **how)
                else:
                    scores = score(self.module, letters, mutants, **how)
            except OmlabError as error:
                yield error
                continue
            yield VariantScores(mutants=mutants, scores=scores, measured=None if given is None else given.measured)

    def embed(self, batch: Sequence[Inputs], /) -> Iterator[Embedding]:
        """The mean of the features of a sequence's residues; of more than `longest` residues, over pieces of that."""
        letters = [omlab.take(inputs, "sequence", sequence.Sequence).letters for inputs in batch]
        for vector in means(self.module.esm, letters, longest=self.settings["longest"]):
            yield Embedding(vector=vector.numpy(), model=self.name)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON."""
        return {"network": asdict(self.module.config)}


def means(trunk: FeatureNetwork, sequences: Sequence[str], *, longest: int) -> list[torch.Tensor]:
    """The mean (width,) over the residues of each sequence, float32 on the CPU; start and end do not count."""
    found = []
    for letters in sequences:
        pieces = [letters[start : start + longest] for start in range(0, len(letters), longest)]
        tokens, layout = packed(
            [encode(piece, vocabulary=trunk.config.vocabulary) for piece in pieces],
            device=trunk.device,
        )
        with torch.inference_mode():
            hidden = trunk(tokens, layout).float()
        found.append(hidden[_residues(layout)].mean(dim=0).cpu())
    return found


def config_from(config: Mapping[str, Any]) -> EsmConfig:
    """The network of what `LanguageModel.config` gave. Raises `WeightsError`."""
    try:
        return EsmConfig(**config["network"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The configuration is not one of this network ({type(error).__name__}: {error})."
        ) from error


def _residues(layout: Layout) -> torch.Tensor:
    lengths = torch.tensor(layout.lengths, device=layout.places.device)[layout.owner]
    return (layout.places > 0) & (layout.places < lengths - 1)

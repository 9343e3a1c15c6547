"""PRIME as models of omlab: scores of variants, and temperatures of sequences.

session = omlab.load_model("prime.690m")
table = session.score(sequence=wild, variants=library)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

import omlab
from omlab.card_schema import ModelCard
from omlab.errors import OmlabError, WeightsError, WeightsWarning
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_payloads.embedding import Embedding
from omlab_payloads.scores import Scores
from omlab_prime.network import PUBLISHED, TINY, Target, Temperature, untrained_temperature
from omlab_prime.weights import load_language_model, load_temperature
from omlab_protein import sequence
from omlab_protein.alphabet import encode
from omlab_protein.language_model import LanguageModel, config_from, means
from omlab_protein.network import Esm, packed, portions, untrained
from omlab_protein.substitutions import all_single, check_wild_type, mutated, parse
from omlab_protein.variants import Variants, VariantScores

NAMES = {"ogt": "growth temperature", "tm": "melting temperature", "topt": "optimum temperature"}
"""What a file such as `prime_ogt.pt` tells."""


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> PrimeModel | TemperatureModel:
    """The entry of the cards. Raises `WeightsError` where the file cannot be read, or holds another network."""
    tells = card.name.startswith("prime-temperature")
    shape = TINY if card.name.endswith("-tiny") else PUBLISHED
    if config is not None:
        network, target = _from_config(config)
        if weights is not None:
            weights.load(network)
    elif weights is None:
        network, target = (untrained_temperature(shape) if tells else untrained(shape)), Target()
    else:
        source, state = weights.path(), weights.state_dict()
        if tells:
            network = load_temperature(state, source=source)
            kind = source.stem.rpartition("_")[2]
            target = Target(name=NAMES.get(kind, "temperature"))
        else:
            network, left = load_language_model(state, source=source)
            target = Target()
            if left:
                warnings.warn(
                    f"{source} has {len(left)} entries of a pooled head ({', '.join(left[:3])}), whose layout is not "
                    "published: they are left out; scores of variants do not need them.",
                    WeightsWarning,
                    stacklevel=2,
                )
    if isinstance(network, Temperature):
        return TemperatureModel(network, target=target, name=card.name, device=device, settings=settings)
    return PrimeModel(network, name=card.name, device=device, settings=settings)


class PrimeModel(LanguageModel[Esm]):
    """The language model: verbs `score` and `embed`; recipes `regression` and `masked-residues`."""

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head."""
        return layers_of(self.module)

    def retarget(
        self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int
    ) -> PrimeModel | TemperatureModel:
        """A copy; for `regression` with a new head on the encoder."""
        if recipe == "regression":
            network = untrained_temperature(self.module.config, seed=seed, esm=self.module)
            return TemperatureModel(
                network, target=_asked(settings), name=self.name, device=self.device, settings=self.settings
            )
        copy = Esm(self.module.config)
        copy.load_state_dict(self.module.state_dict())
        return PrimeModel(copy, name=self.name, device=self.device, settings=self.settings)

    @property
    def device(self) -> str:
        """Where the network is."""
        return str(self.module.device)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Masked residues (`omlab_prime.training`)."""
        from omlab_prime.training import MaskedResidues

        return MaskedResidues(self, data, settings=settings, seed=seed)


class TemperatureModel:
    """A regression: verbs `predict`, `score` and `embed`, and the recipe `regression`.

    Args:
        module: The network.
        target: What it tells.
        name: Of the card.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    def __init__(
        self, module: Temperature, *, target: Target, name: str, device: str, settings: Mapping[str, Any]
    ) -> None:
        self.module = module.to(device).eval()
        self.target, self.name, self.settings = target, name, dict(settings)

    @property
    def device(self) -> str:
        """Where the network is."""
        return str(self.module.device)

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[Scores]:
        """The number of each sequence, in its unit; sequences lie one after the other, without padding."""
        found = self._values([omlab.take(inputs, "sequence", sequence.Sequence).letters for inputs in batch])
        for value in found:
            yield Scores(values={self.target.name: value}, units={self.target.name: self.target.unit})

    def score(self, batch: Sequence[Inputs], /, *, rule: str = "wild-type") -> Iterator[VariantScores | OmlabError]:
        """The number of each mutated sequence; `rule` is for networks that tell residues and changes nothing here."""
        for inputs in batch:
            letters = omlab.take(inputs, "sequence", sequence.Sequence).letters
            given = omlab.take(inputs, "variants", Variants) if "variants" in inputs else None
            mutants = list(all_single(letters)) if given is None else list(given.mutants)
            try:
                for mutant in mutants:
                    check_wild_type(parse(mutant), letters, mutant=mutant)
            except OmlabError as error:
                yield error
                continue
            values = self._values([mutated(letters, parse(mutant)) for mutant in mutants])
            measured = None if given is None else given.measured
            yield VariantScores(mutants=mutants, scores=np.array(values), measured=measured)

    def embed(self, batch: Sequence[Inputs], /) -> Iterator[Embedding]:
        """The mean of the features of a sequence's residues."""
        letters = [omlab.take(inputs, "sequence", sequence.Sequence).letters for inputs in batch]
        for vector in means(self.module.esm, letters, longest=self.settings["longest"]):
            yield Embedding(vector=vector.numpy(), model=self.name)

    def _values(self, sequences: Sequence[str]) -> list[float]:
        """The number of each, as many sequences at once as `tokens` allows."""
        rows = [encode(letters, vocabulary=self.module.config.vocabulary) for letters in sequences]
        found: list[float] = []
        for part in portions([len(row) for row in rows], most=self.settings["tokens"]):
            with torch.inference_mode():
                values = self.module(*packed(rows[part], device=self.module.device)).float()
                found += (values * self.module.spread + self.module.center).tolist()
        return found

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head."""
        return layers_of(self.module)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> TemperatureModel:
        """A copy that tells the number which the settings name."""
        copy = Temperature(self.module.config)
        copy.load_state_dict(self.module.state_dict())
        return TemperatureModel(
            copy, target=_asked(settings), name=self.name, device=self.device, settings=self.settings
        )

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Regression (`omlab_prime.training`)."""
        from omlab_prime.training import RegressionRecipe

        return RegressionRecipe(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON."""
        return {"network": asdict(self.module.config), "target": asdict(self.target)}


def layers_of(network: Esm | Temperature) -> list[list[str]]:
    """Parameter names: embedding, each layer, last norm and heads."""
    names = [name for name, _ in network.named_parameters()]
    parts = ["esm.embeddings.", *(f"esm.encoder.layer.{number}." for number in range(network.config.layers))]
    layers = [[name for name in names if name.startswith(part)] for part in parts]
    placed = {name for layer in layers for name in layer}
    return [*layers, [name for name in names if name not in placed]]


def _asked(settings: Mapping[str, Any]) -> Target:
    return Target(name=settings["number"], unit=settings["unit"])


def _from_config(config: Mapping[str, Any]) -> tuple[Esm | Temperature, Target]:
    shape = config_from(config)
    if "target" not in config:
        return untrained(shape), Target()
    try:
        return untrained_temperature(shape), Target(**config["target"])
    except TypeError as error:
        raise WeightsError(f"The configuration is not one of PRIME's regression ({error}).") from error

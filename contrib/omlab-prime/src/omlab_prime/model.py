"""PRIME as models of omlab: scores of variants, and temperatures of sequences.

session = omlab.load_model("prime.690m")
table = session.score(sequence=wild, mutants=library)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

import omlab
from omlab.card_schema import ModelCard
from omlab.errors import OmlabError, OmlabWarning, WeightsError, WeightsWarning
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_payloads.embedding import Embedding
from omlab_payloads.scores import Scores
from omlab_prime.network import (
    PUBLISHED,
    TINY,
    Prime,
    Target,
    Temperature,
    untrained_prime,
    untrained_temperature,
)
from omlab_prime.weights import load_language_model, load_temperature
from omlab_protein import sequence
from omlab_protein.alphabet import encode
from omlab_protein.language_model import LanguageModel, config_from, means
from omlab_protein.network import Esm, filled, packed, untrained
from omlab_protein.sequence_sets import TEMPERATURES
from omlab_protein.substitutions import all_single, check_wild_type, mutated, parse
from omlab_protein.variants import Variants, VariantScores
from omlab_protein.weights import read_checkpoint


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> PrimeModel | PretrainedModel | TemperatureModel:
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
        source, state = read_checkpoint(weights)
        if tells:
            network = load_temperature(state, source=source)
            kind = source.stem.rpartition("_")[2]
            target = Target(name=TEMPERATURES.get(kind, "temperature"))  # prime_ogt.pt
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
    if isinstance(network, Prime):
        return PretrainedModel(network, target=target, name=card.name, device=device, settings=settings)
    return PrimeModel(network, name=card.name, device=device, settings=settings)


class PrimeModel(LanguageModel[Esm]):
    """The language model: verbs `score` and `embed`; recipes `regression`, `masked-residues` and `temperature`."""

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head."""
        return layers_of(self.module)

    def retarget(
        self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int
    ) -> PrimeModel | PretrainedModel | TemperatureModel:
        """A copy; for `regression` and `temperature` with a new head on the encoder."""
        how: dict[str, Any] = {"name": self.name, "device": self.device, "settings": self.settings}
        if recipe == "regression":
            regression = untrained_temperature(self.module.config, seed=seed, esm=self.module)
            return TemperatureModel(regression, target=_asked(settings), **how)
        if recipe == "temperature":
            prime = untrained_prime(self.module.config, seed=seed, esm=self.module)
            return PretrainedModel(prime, target=Target(name=settings["number"]), **how)
        copy = Esm(self.module.config)
        copy.load_state_dict(self.module.state_dict())
        return PrimeModel(copy, **how)

    @property
    def device(self) -> str:
        """Where the network is."""
        return str(self.module.device)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Masked residues (`omlab_prime.training`)."""
        from omlab_prime.training import MaskedResidues

        return MaskedResidues(self, data, settings=settings, seed=seed)


class PretrainedModel(PrimeModel):
    """The language model with its regression: verbs `predict`, `score` and `embed`.

    Args:
        module: The network.
        target: What `predict` tells.
        name: Of the card.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    module: Prime

    def __init__(self, module: Prime, *, target: Target, name: str, device: str, settings: Mapping[str, Any]) -> None:
        super().__init__(module, name=name, device=device, settings=settings)
        self.target = target

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[Scores]:
        """The temperature of each sequence, in degrees Celsius."""
        yield from _told(self.module, batch, target=self.target, tokens=self.settings["tokens"])

    def retarget(
        self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int
    ) -> PrimeModel | PretrainedModel | TemperatureModel:
        """A copy; for `regression` with a new head, else with the heads that are there."""
        if recipe == "regression":
            return super().retarget(recipe, about, settings=settings, seed=seed)
        copy = Prime(self.module.config)
        copy.load_state_dict(self.module.state_dict())
        target = Target(name=settings["number"]) if recipe == "temperature" else self.target
        return PretrainedModel(copy, target=target, name=self.name, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Masked residues, alone or with temperatures (`omlab_prime.training`)."""
        from omlab_prime.training import Pretraining

        if recipe != "temperature":
            return super().recipe(recipe, data, settings=settings, seed=seed)
        return Pretraining(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON."""
        return {**super().config(), "target": asdict(self.target)}


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
        yield from _told(self.module, batch, target=self.target, tokens=self.settings["tokens"])

    def score(self, batch: Sequence[Inputs], /, *, rule: str = "wild-type") -> Iterator[VariantScores | OmlabError]:
        """The number of each mutated sequence.

        `rule` and `homologues` are for networks that tell residues: the former changes nothing here, of the latter it
        is said that they are left out.
        """
        for inputs in batch:
            if "homologues" in inputs:
                warnings.warn(
                    f"'{self.name}' tells the {self.target.name} of whole sequences: homologues are left out.",
                    OmlabWarning,
                    stacklevel=2,
                )
            letters = omlab.take(inputs, "sequence", sequence.Sequence).letters
            given = omlab.take(inputs, "mutants", Variants) if "mutants" in inputs else None
            mutants = list(all_single(letters)) if given is None else list(given.mutants)
            try:
                for mutant in mutants:
                    check_wild_type(parse(mutant), letters, mutant=mutant)
            except OmlabError as error:
                yield error
                continue
            changed = (mutated(letters, parse(mutant)) for mutant in mutants)
            values = np.fromiter(_numbers(self.module, changed, tokens=self.settings["tokens"]), float, len(mutants))
            measured = None if given is None else given.measured
            yield VariantScores(mutants=mutants, scores=values, measured=measured)

    def embed(self, batch: Sequence[Inputs], /) -> Iterator[Embedding]:
        """The mean of the features of a sequence's residues."""
        letters = [omlab.take(inputs, "sequence", sequence.Sequence).letters for inputs in batch]
        for vector in means(self.module.esm, letters, longest=self.settings["longest"]):
            yield Embedding(vector=vector.numpy(), model=self.name)

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


def _told(network: Temperature | Prime, batch: Sequence[Inputs], *, target: Target, tokens: int) -> Iterator[Scores]:
    letters = [omlab.take(inputs, "sequence", sequence.Sequence).letters for inputs in batch]
    for value in _numbers(network, letters, tokens=tokens):
        yield Scores(values={target.name: value}, units={target.name: target.unit})


def _numbers(network: Temperature | Prime, sequences: Iterable[str], *, tokens: int) -> Iterator[float]:
    """The number of each, as many sequences at once as `tokens` allows; no more of them are held."""
    rows = (encode(letters, vocabulary=network.config.vocabulary) for letters in sequences)
    for part in filled(rows, most=tokens):
        with torch.inference_mode():
            values = network.numbers(*packed(part, device=network.device))
        yield from values.tolist()


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
        target = Target(**config["target"])
    except TypeError as error:
        raise WeightsError(f"The configuration is not one of PRIME's regression ({error}).") from error
    return (untrained_prime(shape) if shape.outputs else untrained_temperature(shape)), target

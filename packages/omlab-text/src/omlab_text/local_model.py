"""A language model on this machine as a model of omlab: it writes, scores, and can be trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from omlab.errors import TrainingError
from omlab.roles import About, Dataset
from omlab_text.blocks import blocks_of
from omlab_text.kept import kept_format, kept_network, kept_tokenizer
from omlab_text.local import LocalBackend
from omlab_text.recipes import RECIPES, RETARGETED, maker
from omlab_text.scoring import ScoringModel


class LocalModel(ScoringModel):
    """The verbs `generate` and `score`, and the recipes (`omlab.roles.Trainable`).

    Args:
        backend: What writes.
        network: The configuration of the network as it was stored, where the loaded one has been changed since (scaled
            positions); None: as it is.
        more: As of `ChatModel`.
    """

    def __init__(self, backend: LocalBackend, *, network: Mapping[str, Any] | None = None, **more: Any) -> None:
        super().__init__(backend, **more)
        self.stored = dict(network or kept_network(backend.network))

    @property
    def module(self) -> nn.Module:
        """The network of transformers."""
        network: nn.Module = self.backend.network
        return network

    def layers(self) -> Sequence[Sequence[str]]:
        """Names of the embeddings' parameters, of each block's, and of what comes after (with the output matrix)."""
        names = [name for name, _ in self.module.named_parameters()]
        blocks = {block: [name for name in names if name.startswith(f"{block}.")] for block in blocks_of(self.module)}
        inside = {name for block in blocks.values() for name in block}
        first = next(place for place, name in enumerate(names) if name in inside)
        return [names[:first], *blocks.values(), [name for name in names[first:] if name not in inside]]

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> LocalModel:
        """A copy, called after the recipe too. Raises `TrainingError` where the weights are quantised."""
        form = getattr(self.module.config, "quantization_config", None)
        learnt = [parameter for parameter in self.module.parameters() if parameter.is_floating_point()]
        if form is not None or not learnt or any(type(each) is not nn.Parameter for each in learnt):
            raise TrainingError(f"'{self.backend.name}' is quantised, and cannot be trained so: load it as it was.")
        other = copy.copy(self)
        other.backend = self.backend.copied(name=f"{self.backend.name}+{recipe}")
        entry = RETARGETED.get(recipe)
        made: LocalModel = maker(entry)(other, settings=settings, seed=seed) if entry else other
        return made

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """The recipe of that name (`omlab_text.recipes`)."""
        return maker(RECIPES[recipe])(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Name, network, tokenizer and chat format (`omlab_text.kept`)."""
        return {
            "name": self.backend.name,
            "network": self.stored,
            "stops": sorted(self.backend.stops),
            "tokenizer": kept_tokenizer(self.backend.tokenizer),
            "format": kept_format(self.backend.format),
        }

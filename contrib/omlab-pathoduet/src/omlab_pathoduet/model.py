"""PathoDuet as a model of omlab: a patch in, an embedding out; classes where it was fine-tuned.

session = omlab.load_model("pathoduet-he", weights="checkpoint_HE.pth")
vector = session.embed(omlab.read("patch.png"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

import omlab
from omlab.card_schema import ModelCard
from omlab.errors import WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_image import Image
from omlab_image.answers import Task, outputs_of
from omlab_image.model import ImageModel
from omlab_pathoduet.images import View, as_it_is, transform
from omlab_pathoduet.moco import HeadsConfig
from omlab_pathoduet.multistain import DecoderConfig
from omlab_pathoduet.retarget import Network, Plan, encoder_of, retargeted, to_config
from omlab_pathoduet.vit import NETWORKS, VitConfig, layers_of
from omlab_pathoduet.weights import recognise
from omlab_payloads.embedding import Embedding

ON_SLIDES = "-slide"
"""How the name of a card for slides ends, before which stands that of the encoder."""
ANY = "pathoduet"
"""The card of any network of PathoDuet; the others are each of one."""
TINY = Plan(
    vit=VitConfig(size=64, width=64, depth=3, heads=4),
    heads=HeadsConfig(dim=32, hidden=96),
    decoder=DecoderConfig(width=32, depth=1, heads=2),
)
PLANS = {"pathoduet-he": Plan(), "pathoduet-ihc": Plan(), "pathoduet-tiny": TINY}
"""The network of each card that is of one alone."""


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> PathoDuetModel:
    """The entry of the cards.

    Raises `WeightsError` where the file cannot be read or holds another network: names keys, or what takes it.
    """
    name, task = card.name.removesuffix(ON_SLIDES), Task()
    if config is not None:
        plan, task = _from_config(config)
        network = plan.build()
        if weights is not None:
            weights.load(network)
    else:
        plan = _plan(name, settings)
        network, plan = (plan.drawn(seed=0), plan) if weights is None else _from_file(weights, plan, card=name)
    return PathoDuetModel(network, plan=plan, task=task, name=name, device=device, settings=settings)


class PathoDuetModel(ImageModel[Network]):
    """A network with its task: verbs `embed`, of classifiers `predict`; recipes (`omlab.roles.Trainable`).

    Args:
        module: The network.
        plan: What it was built by.
        task: What it tells; empty for an encoder.
        name: Of the card.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    def __init__(
        self, module: Network, *, plan: Plan, task: Task, name: str, device: str, settings: Mapping[str, Any]
    ) -> None:
        super().__init__(module, task=task, name=name, device=device, settings=settings)
        self.plan = plan

    @property
    def size(self) -> int:
        """Side of the square that the network sees."""
        return self.plan.vit.size

    @property
    def view(self) -> View:
        """What of an image is seen: `centre` or `whole`."""
        return "whole" if self.settings["view"] == "whole" else "centre"

    def prepare(self, verb: str, inputs: Inputs, /) -> Tensor:
        """What the network sees of an image, [3, S, S]. Raises `InputError` for colours that were normalised."""
        image = as_it_is(omlab.take(inputs, "image", Image))
        return transform(self.size, view=self.view)(image)

    def embed(self, batch: Sequence[Tensor], /) -> Iterator[Embedding]:
        """The features of patches: of published weights the normed mean of what the network makes of an image's parts.

        Features of different views cannot be compared, so their maker is named with it.
        """
        for vector in outputs_of(self.module, batch, by=encoder_of(self.module).features):
            yield Embedding(vector=vector.numpy(), model=f"{self.name} ({self.view})")

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: tokens and patches; each block; norms, heads and all else."""
        names = [name for name, _ in self.module.named_parameters()]
        prefix = "base_encoder." if encoder_of(self.module) is not self.module else ""
        bare = {name.removeprefix(prefix): name for name in names}
        return [[bare[name] for name in layer] for layer in layers_of(list(bare), depth=self.plan.vit.depth)]

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> PathoDuetModel:
        """A copy in a pre-training task, or with a head for the classes that `about` tells of."""
        network, plan, task = retargeted(
            self.module, self.plan, recipe=recipe, about=about, settings=settings, seed=seed
        )
        return PathoDuetModel(network, plan=plan, task=task, name=self.name, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """What is minimised (`omlab_pathoduet.training`)."""
        from omlab_pathoduet.training import RECIPES

        return RECIPES[recipe](self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: architecture and classes."""
        return {"plan": to_config(self.plan), "task": self.task.to_config()}


def _plan(name: str, settings: Mapping[str, Any]) -> Plan:
    """The network of a card, before a file was looked at."""
    if name != ANY:
        return PLANS[name]
    return Plan(vit=replace(NETWORKS[settings["network"]], pool=settings["pool"]))


def _from_file(weights: Weights, plan: Plan, *, card: str) -> tuple[Network, Plan]:
    """The encoder that a file holds, which is the card's own."""
    source = weights.path()
    found = recognise(weights.state_dict(), heads=plan.vit.heads, source=source)
    if card != ANY and found.config != plan.vit:
        raise WeightsError(
            f"{source} holds a network {found.config}, but {card} is {plan.vit}: load it as {ANY}, which takes any."
        )
    plan = replace(plan, vit=found.config)
    network = plan.build()
    weights.load(network, state=found.state)
    return network, plan


def _from_config(config: Mapping[str, Any]) -> tuple[Plan, Task]:
    try:
        task = Task.from_config(config["task"])
        plan = config["plan"]
    except (KeyError, TypeError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted PathoDuet ({type(error).__name__}: {error})."
        ) from error
    return Plan.from_config(plan), task

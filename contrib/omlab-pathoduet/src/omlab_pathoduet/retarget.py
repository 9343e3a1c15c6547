"""An encoder made ready for a recipe: in a pre-training task with its heads, or with a head for classes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from omlab.errors import TrainingError, WeightsError, WeightsWarning
from omlab.roles import About
from omlab_image.answers import Task
from omlab_pathoduet.moco import CrossScale, CrossStain, HeadsConfig, Moco
from omlab_pathoduet.multistain import DecoderConfig, MultiStain, encoder_state
from omlab_pathoduet.vit import PathoVit, VitConfig

Network = PathoVit | Moco | MultiStain
Kind = Literal["encoder", "moco", "cross-scale", "cross-stain", "multi-stain"]

_HEAD, _BASE, _MOMENTUM = "head.", "base_encoder.", "momentum_encoder."
_TASKS: dict[str, type[Moco]] = {"moco": Moco, "cross-scale": CrossScale, "cross-stain": CrossStain}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that it takes to build a network, as JSON in the configuration of an adapted model."""

    kind: Kind = "encoder"
    vit: VitConfig = field(default_factory=VitConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def build(self) -> Network:
        """The network in evaluation mode, with values that are still to be drawn or filled in."""
        if self.kind == "encoder":
            return PathoVit(self.vit).eval()
        if self.kind == "multi-stain":
            return MultiStain(self.vit, decoder=self.decoder).eval()
        return _TASKS[self.kind](self.vit, heads=self.heads).eval()

    def drawn(self, *, seed: int) -> Network:
        """The network with the published initial values, the same ones for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.build()
            network.initialise()
        return network

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Plan:
        """The plan that `asdict` was made of. Raises `WeightsError` for what is no such configuration."""
        try:
            plan = cls(
                kind=config["kind"],
                vit=VitConfig(**config["vit"]),
                heads=HeadsConfig(**config["heads"]),
                decoder=DecoderConfig(**config["decoder"]),
            )
            if plan.kind not in get_args(Kind):
                raise ValueError(f"'{plan.kind}' is no kind of network")
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"The configuration is not one of an adapted PathoDuet ({type(error).__name__}: {error})."
            ) from error
        return plan


def retargeted(
    before: Network, plan: Plan, *, recipe: str, about: About, settings: Mapping[str, Any], seed: int
) -> tuple[Network, Plan, Task]:
    """A network for a recipe with the encoder of `before`, how it was built, and what it tells.

    What a task has beyond the encoder is taken from `before` where it had it too (heads, momentum encoder).

    Raises `TrainingError` where the data do not fit.
    """
    task = Task()
    if recipe == "classification":
        task = Task.of(about, multi_label=settings["multi_label"])
        plan = replace(plan, kind="encoder", vit=replace(plan.vit, classes=len(task.classes)))
    else:
        if plan.vit.classes:
            raise TrainingError(
                "This network was fine-tuned to tell classes, which pre-training would make it forget: pre-train the "
                "one that it was made from."
            )
        plan = replace(plan, kind=recipe)  # type: ignore[arg-type]  # the card's recipes are these kinds
    network = plan.drawn(seed=seed)
    _take(network, before)
    if isinstance(network, Moco):
        network.temperature = settings["temperature"]
    if isinstance(network, CrossScale):
        network.bridge = settings["bridge"]
    if isinstance(network, MultiStain):
        network.ratio = settings["ratio"]
    if isinstance(network, CrossStain) and not isinstance(before, Moco):
        warnings.warn(
            "These weights have no projection head (published files are without): that of the teacher is drawn anew "
            "and never learns; start from a model that was pre-trained here (cross-scale) where you can.",
            WeightsWarning,
            stacklevel=2,
        )
    return network, plan, task


def encoder_of(network: Network) -> PathoVit | MultiStain:
    """The part that `features` is asked of."""
    return network.base_encoder if isinstance(network, Moco) else network


def _take(network: Network, before: Network) -> None:
    """Copy the encoder of `before`, and all else that both have by the same name and shape."""
    encoder = _state_of_encoder(before)
    if isinstance(network, Moco):
        state = {f"{part}{key}": value for part in (_BASE, _MOMENTUM) for key, value in encoder.items()}
        if isinstance(before, Moco):
            state |= before.state_dict()
    elif isinstance(network, MultiStain):
        state = {**encoder, **(before.state_dict() if isinstance(before, MultiStain) else {})}
    else:
        state = {key: value for key, value in encoder.items() if not key.startswith(_HEAD)}
    own = network.state_dict()
    alike = {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    network.load_state_dict(alike, strict=False)


def _state_of_encoder(network: Network) -> dict[str, Tensor]:
    if isinstance(network, MultiStain):
        return encoder_state(network)
    state: dict[str, Tensor] = encoder_of(network).state_dict()
    return state


def to_config(plan: Plan) -> dict[str, Any]:
    """JSON, of which `Plan.from_config` makes it again."""
    return asdict(plan)

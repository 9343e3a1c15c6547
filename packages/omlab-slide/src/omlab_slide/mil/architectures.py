"""The networks of this package's cards: how each is made of settings, and of a published checkpoint's shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from omlab.errors import WeightsError
from omlab_slide.mil.abmil import Abmil, AbmilConfig
from omlab_slide.mil.clam import SIZES, Clam, ClamConfig
from omlab_slide.mil.max_pool import MaxPool, MaxPoolConfig

State = Mapping[str, Tensor]
Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How the networks of a card come about; what other packages bring fulfils it too.

    Networks take `(features, offsets, labels=None, *, others=False)` and give a `MilOutput`; their configuration is
    JSON that has `embed_dim` and `n_classes`.

    Attributes:
        of_settings: (settings of the card, embed_dim, n_classes) -> configuration.
        build: Configuration -> network, its weights drawn. Raises `ValueError` or `TypeError` where it cannot be.
        of_state: State dict -> (configuration, state dict with the network's keys). Raises `KeyError`.
        heads: Beginnings of the names of parameters that belong to the classes.
        classes: How many the networks tell apart; None: any number.
    """

    of_settings: Callable[[Settings, int, int], dict[str, Any]]
    build: Callable[[Mapping[str, Any]], nn.Module]
    of_state: Callable[[State, Settings], tuple[dict[str, Any], dict[str, Tensor]]]
    heads: tuple[str, ...]
    classes: int | None = None

    def network(self, config: Mapping[str, Any]) -> nn.Module:
        """The network of a configuration. Raises `WeightsError` where it is none."""
        try:
            return self.build(config)
        except (TypeError, ValueError) as error:
            raise WeightsError(f"The configuration is not that of such a slide network ({error}).") from error

    def read(self, state: State, settings: Settings, *, source: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Configuration and state dict of a checkpoint. Raises `WeightsError` that names the file."""
        try:
            return self.of_state(state, settings)
        except (KeyError, ValueError, StopIteration) as error:
            found = ", ".join(list(state)[:4]) or "nothing"
            raise WeightsError(
                f"{source} holds no network of this kind ({error} is not there); it has {found}."
            ) from error

    def layers(self, network: nn.Module) -> list[list[str]]:
        """Names of parameters from input to head: by layer as the network registers them, the heads last."""
        body: dict[str, list[str]] = {}
        heads = []
        for name, _ in network.named_parameters():
            if name.startswith(self.heads):
                heads.append(name)
            else:
                body.setdefault(".".join(name.split(".")[:2]), []).append(name)
        return [*body.values(), heads]


def _clam(branches: str) -> Architecture:
    def of_settings(settings: Settings, embed_dim: int, n_classes: int) -> dict[str, Any]:
        config = ClamConfig(
            embed_dim=embed_dim, n_classes=n_classes, branches=branches, size=settings["size"], gate=settings["gated"],
            dropout=settings["dropout"],
        )  # fmt: skip
        return asdict(config)

    def of_state(state: State, settings: Settings) -> tuple[dict[str, Any], dict[str, Tensor]]:
        own = _published(state)
        first = own["attention_net.0.weight"]
        gated = "attention_net.3.attention_c.weight" in own
        inner = own[f"attention_net.3.{'attention_a.0' if gated else 'module.0'}.weight"]
        size = next(name for name, widths in SIZES.items() if widths == (len(first), len(inner)))
        single = "classifiers.weight" in own
        count = (
            len(own["classifiers.weight"])
            if single
            else sum(name.startswith("instance_classifiers.") for name in own) // 2
        )
        if single != (branches == "single"):
            raise KeyError("classifiers.0.weight" if single else "classifiers.weight")
        dropout = settings["dropout"] if gated else 0.25 * ("attention_net.3.module.3.weight" in own)
        config = ClamConfig(
            embed_dim=first.shape[1], n_classes=count, branches=branches, size=size, gate=gated, dropout=dropout
        )
        return asdict(config), own

    return Architecture(
        of_settings=of_settings,
        build=lambda config: Clam(ClamConfig(**config)),
        of_state=of_state,
        heads=("classifiers", "instance_classifiers"),
    )


def _published(state: State) -> dict[str, Tensor]:
    """The keys of CLAM's current code: without the buffers of the instance loss, the attention at index 3.

    Older checkpoints without dropout have it at index 2.
    """
    moved = not any(name.startswith("attention_net.3.") for name in state)
    return {
        name.replace("attention_net.2.", "attention_net.3.", 1) if moved else name: tensor
        for name, tensor in state.items()
        if not name.startswith("instance_loss_fn.")
    }


def _max_pool_of_settings(settings: Settings, embed_dim: int, n_classes: int) -> dict[str, Any]:
    hidden, _ = SIZES[settings["size"]]
    config = MaxPoolConfig(embed_dim=embed_dim, n_classes=n_classes, hidden=hidden, dropout=settings["dropout"])
    return asdict(config)


def _max_pool_of_state(state: State, settings: Settings) -> tuple[dict[str, Any], dict[str, Tensor]]:
    hidden, embed_dim = state["fc.0.weight"].shape
    head = state["classifiers.weight"] if "classifiers.weight" in state else state["classifier.weight"]
    config = MaxPoolConfig(embed_dim=embed_dim, n_classes=len(head), hidden=hidden, dropout=settings["dropout"])
    return asdict(config), dict(state)


def _abmil_of_settings(settings: Settings, embed_dim: int, n_classes: int) -> dict[str, Any]:
    width, inner = SIZES[settings["size"]]
    config = AbmilConfig(
        embed_dim=embed_dim, n_classes=n_classes, width=width, head_dim=inner, n_heads=settings["heads"],
        gated=settings["gated"], dropout=settings["dropout"],
    )  # fmt: skip
    return asdict(config)


def _abmil_of_state(state: State, settings: Settings) -> tuple[dict[str, Any], dict[str, Tensor]]:
    inner, width = state["pool.attention_heads.0.0.weight"].shape
    first = state.get("embed.0.weight")
    config = AbmilConfig(
        embed_dim=width if first is None else first.shape[1],
        n_classes=len(state["head.weight"]),
        width=0 if first is None else width,
        head_dim=inner,
        n_heads=sum(name.startswith("pool.branching_layers.") for name in state) // 2,
        gated="pool.gating_layers.0.0.weight" in state,
        dropout=settings["dropout"],
    )
    return asdict(config), dict(state)


ARCHITECTURES: Mapping[str, Architecture] = {
    "abmil": Architecture(
        of_settings=_abmil_of_settings,
        build=lambda config: Abmil(AbmilConfig(**config)),
        of_state=_abmil_of_state,
        heads=("head",),
    ),
    "clam-sb": _clam("single"),
    "clam-mb": _clam("multi"),
    "mil-fc": Architecture(
        of_settings=_max_pool_of_settings,
        build=lambda config: MaxPool(MaxPoolConfig(**config)),
        of_state=_max_pool_of_state,
        heads=("classifier",),
    ),
}
"""By the names of the cards."""


def with_classes(config: Mapping[str, Any], *, embed_dim: int, n_classes: int) -> dict[str, Any]:
    """The configuration for other features and classes."""
    return {**config, "embed_dim": embed_dim, "n_classes": n_classes}


__all__ = ["ARCHITECTURES", "Architecture", "with_classes"]

"""Which axon network a file holds, and how networks are made and described."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab.errors import WeightsError
from omlab.weights import depth_of, load_state_dict
from omlab_axonseg import axial_unet
from omlab_axonseg.axial_attention import Sizes
from omlab_axonseg.axial_unet import HALVINGS, AxialUNet, UNetConfig
from omlab_axonseg.residual_unet import ResidualUNet

AxonNetwork = AxialUNet | ResidualUNet
TINY = UNetConfig(
    base_features=4, max_features=16, poolings=HALVINGS[:2], volume=(16, 16, 16), head_size=2, no_attention=(1,)
)
"""Ours, for tests and demonstrations; never published."""
_FIRST = "conv_blocks_context.0.blocks.0.conv.weight"
_RESIDUAL = "conv3d_c1_1.weight"


def untrained(name: str, *, tiny: bool = False) -> AxonNetwork:
    """The network `axial`, `generic` or `residual` with its initial values."""
    if name == "residual":
        torch.manual_seed(0)
        return ResidualUNet(base_n_filter=2 if tiny else 8).eval()
    config = TINY if tiny else UNetConfig()
    return axial_unet.untrained(config if name == "axial" else _without_attention(config))


def of_state(state: Mapping[str, Tensor], *, source: Path | str) -> AxonNetwork:
    """The network of a checkpoint, with its weights. Raises `WeightsError` where it is none of them; names the keys."""
    if _RESIDUAL in state:
        first, last = state[_RESIDUAL], state.get("conv3d_l4.weight")
        classes = 1 if last is None else int(last.shape[0])
        network: AxonNetwork = ResidualUNet(
            in_channels=int(first.shape[1]), n_classes=classes, base_n_filter=int(first.shape[0])
        )
    elif _FIRST in state:
        network = axial_unet.untrained(config_of(state, source=source))
    else:
        raise WeightsError(
            f"{source} is no axon network: it has neither '{_FIRST}' nor '{_RESIDUAL}' "
            f"(its keys begin with {', '.join(list(state)[:3])})."
        )
    load_state_dict(network, dict(state), source=source)
    return network.eval()


def config_of(state: Mapping[str, Tensor], *, source: Path | str) -> UNetConfig:
    """The hyper-parameters that a U-Net's weights show; poolings by the transposed convolutions.

    Heads leave no trace: they are the published ones. Raises `WeightsError` for an incomplete state.
    """
    depth = depth_of(state, r"conv_blocks_context\.(\d+)\.blocks\.")
    ups = [state.get(f"tu.{u}.weight") for u in range(depth)]
    head = state.get(f"seg_outputs.{depth - 1}.weight")
    if head is None or any(up is None or up.ndim != 5 for up in ups):
        raise WeightsError(f"{source} is not a whole axon network: of {depth} stages a 'tu' or 'seg_outputs' lacks.")
    poolings = tuple(_sizes(up.shape[2:]) for up in reversed(ups) if up is not None)
    attended = [u for u in range(depth) if f"axial_embedding.{u}.param_0" in state]
    facts: dict[str, Any] = {"attention": False}
    if attended:
        level = depth - 1 - attended[-1]
        scale = [1, 1, 1]
        for pooling in poolings[:level]:
            scale = [a * b for a, b in zip(scale, pooling, strict=True)]
        sizes = [state[f"axial_embedding.{attended[-1]}.param_{axis}"].shape[2 + axis] for axis in range(3)]
        hidden = int(state[f"axial_attention.{attended[-1]}.axial_attentions.0.fn.to_q.weight"].shape[0])
        heads = 2
        facts = {
            "heads": heads,
            "head_size": hidden // (heads * 4**level),
            "volume": _sizes([a * b for a, b in zip(sizes, scale, strict=True)]),
            "no_attention": tuple(u for u in range(depth) if u not in attended),
        }
    else:
        facts["volume"] = _volume_for(poolings)
    return UNetConfig(
        in_channels=int(state[_FIRST].shape[1]),
        num_classes=int(head.shape[0]),
        base_features=int(state[_FIRST].shape[0]),
        max_features=int(max(up.shape[0] for up in ups if up is not None)),
        poolings=poolings,
        convs=depth_of(state, r"conv_blocks_context\.0\.blocks\.(\d+)\."),
        **facts,
    )


def with_targets(before: AxonNetwork, *, classes: int, channels: int, volume: Sizes | None, seed: int) -> AxonNetwork:
    """A copy for other classes, channels and a window: what fits is taken over, heads of other classes start anew.

    Position terms are stretched to the window, linearly. Raises `ValueError` where the window cannot be.
    """
    if isinstance(before, ResidualUNet):
        torch.manual_seed(seed)
        after: AxonNetwork = ResidualUNet(
            in_channels=channels, n_classes=classes, base_n_filter=before.base_n_filter
        ).eval()
    else:
        config = before.config
        changed = {"num_classes": classes, "in_channels": channels, "volume": volume or config.volume}
        after = axial_unet.untrained(UNetConfig(**{**vars(config), **changed}), seed=seed)
    state = after.state_dict()
    for name, value in before.state_dict().items():
        if name.startswith("axial_embedding") and value.shape != state[name].shape:
            state[name] = functional.interpolate(
                value, size=state[name].shape[2:], mode="trilinear", align_corners=False
            )
        elif value.shape == state[name].shape:
            state[name] = value
    after.load_state_dict(state)
    return after


def to_config(network: AxonNetwork) -> dict[str, Any]:
    """A network's hyper-parameters as JSON."""
    if isinstance(network, ResidualUNet):
        names = ("in_channels", "n_classes", "base_n_filter")
        return {"network": "residual", **{name: getattr(network, name) for name in names}}
    return {"network": "unet", **vars(network.config)}


def from_config(config: Mapping[str, Any]) -> AxonNetwork:
    """The reverse of `to_config`, untrained. Raises `WeightsError` for what is none."""
    values = {name: value for name, value in config.items() if name != "network"}
    try:
        if config["network"] == "residual":
            return ResidualUNet(**values).eval()
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        poolings = tuple(_sizes(pooling) for pooling in values["poolings"])
        return axial_unet.untrained(UNetConfig(**{**values, **lists, "poolings": poolings}))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The configuration is not one of an axon network ({type(error).__name__}: {error})."
        ) from error


def layers_of(network: nn.Module) -> list[list[str]]:
    """Parameter names from input to head."""
    if isinstance(network, AxialUNet):
        return axial_unet.layers_of(network)
    return [[name] for name, _ in network.named_parameters()]


def _without_attention(config: UNetConfig) -> UNetConfig:
    return UNetConfig(**{**vars(config), "attention": False})


def _volume_for(poolings: tuple[Sizes, ...]) -> Sizes:
    """The published window, brought to a multiple of the strides: without position terms any such works."""
    strides = UNetConfig(poolings=poolings, attention=False, volume=_product(poolings)).total_stride
    return _sizes([max(1, 128 // stride) * stride for stride in strides])


def _product(poolings: tuple[Sizes, ...]) -> Sizes:
    total = [1, 1, 1]
    for pooling in poolings:
        total = [a * b for a, b in zip(total, pooling, strict=True)]
    return _sizes(total)


def _sizes(values: Any) -> Sizes:
    depth, height, width = (int(value) for value in values)
    return depth, height, width

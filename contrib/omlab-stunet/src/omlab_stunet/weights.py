"""Published checkpoints: which network a file holds, and how its weights get into ours.

Our keys are the published ones, so loading renames nothing. The published files are nnU-Net v1's, with the weights
under `state_dict`; nnU-Net v2 keeps them under `network_weights`. Both have identical keys: `convert` writes either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from omlab.errors import UsageError, WeightsError
from omlab.files import replacing, writing
from omlab.weights import check_entries, depth_of, load_state_dict, read_state_dict
from omlab_stunet.network import PUBLISHED_POOLINGS, SIZES, StuNet, StuNetConfig, Triple, allocate

Form = Literal["v1", "v2"]

WRAPPERS: dict[Form, str] = {"v1": "state_dict", "v2": "network_weights"}

_STEM = "conv_blocks_context.0.0.conv1.weight"
_HEADS = "seg_outputs."
_INPUT_KEYS = (_STEM, "conv_blocks_context.0.0.conv3.weight")


def config_from_state(
    state: Mapping[str, Tensor], *, source: Path | str, poolings: tuple[Triple, ...] = PUBLISHED_POOLINGS
) -> StuNetConfig:
    """The size, input channels and classes of the network that `state` belongs to.

    Poolings leave no trace in the weights and are taken as given. Raises `WeightsError` for another network's state.
    """
    stages = len(poolings) + 1
    widths = [f"conv_blocks_context.{stage}.0.conv1.weight" for stage in range(stages)]
    head = f"{_HEADS}{stages - 2}.weight"
    check_entries(state, dict.fromkeys([*widths, head], 5), what="a STU-Net checkpoint", source=source)
    for key in (*widths, head):  # what the network is read off must be right itself, or all other keys are blamed
        bias = key.removesuffix("weight") + "bias"
        if bias in state and state[bias].shape != state[key].shape[:1]:
            raise WeightsError(
                f"{source} is not a STU-Net checkpoint: '{key}' has the shape {tuple(state[key].shape)}, "
                f"and '{bias}' {tuple(state[bias].shape)}."
            )
    return StuNetConfig(
        depth=tuple(depth_of(state, rf"conv_blocks_context\.{stage}\.(\d+)\.") for stage in range(stages)),
        dims=tuple(int(state[key].shape[0]) for key in widths),
        in_channels=int(state[_STEM].shape[1]),
        num_classes=int(state[head].shape[0]),
        poolings=poolings,
    )


def size_name(config: StuNetConfig) -> str:
    """`small`, `base`, `large`, `huge` or `tiny`; the depth and widths where it is none of them."""
    for name, size in SIZES.items():
        if (size.depth, size.dims) == (config.depth, config.dims):
            return name
    return f"of depth {'-'.join(map(str, config.depth))} and widths {'-'.join(map(str, config.dims))}"


def check_size(config: StuNetConfig, *, size: str, state: Mapping[str, Tensor], source: Path | str) -> None:
    """Raise `WeightsError` where a file with this configuration is not of the size asked for."""
    wanted = SIZES[size]
    if (wanted.depth, wanted.dims) == (config.depth, config.dims):
        return
    with torch.device("meta"):
        network = StuNet(wanted).state_dict()
    # heads and image channels differ between data sets; the first axis of all else is a width
    differing = [
        key for key in network if key in state and not key.startswith(_HEADS) and len(network[key]) != len(state[key])
    ]
    if differing:
        key = differing[0]
        detail = f"{key} is {tuple(state[key].shape)} in the file and {tuple(network[key].shape)} in stunet-{size}"
    else:
        key = next(key for key in (*network, *state) if (key in network) != (key in state))
        detail = f"{key} is only in the {'file' if key in state else 'network'}"
    found = size_name(config)
    advice = f"load it as stunet-{found}" if found in SIZES else "load it as stunet"
    raise WeightsError(f"{source} holds STU-Net {found}, not {size}: {detail}; {advice}.")


def load_network(state: Mapping[str, Tensor], *, config: StuNetConfig, source: Path | str) -> StuNet:
    """The network with these weights. Raises `WeightsError` that names every missing, unexpected or misshapen key."""
    network = allocate(config)
    load_state_dict(network, state, source=source)
    return network


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What `transfer` did with the keys of the network: copied, copied for more channels, or left as they were."""

    copied: tuple[str, ...]
    repeated: tuple[str, ...]
    kept: tuple[str, ...]


def transfer(state: Mapping[str, Tensor], network: StuNet) -> Transfer:
    """Load pretrained weights for fine-tuning: every key of equal shape but the heads, as upstream does.

    For N > 1 input channels, the two convolutions that see the image are repeated N times along the input
    axis, **not** divided by N. What `conv1` gives is normalised next, so its scale does not matter; the
    shortcut `conv3` is not normalised and grows up to N-fold for channels that resemble each other.
    """
    done: dict[str, Tensor] = {}
    repeated = []
    for key, own in network.state_dict().items():
        given = state.get(key)
        if given is None or key.startswith(_HEADS):
            continue
        if key in _INPUT_KEYS and given.shape[1] == 1 < own.shape[1]:
            given = given.repeat(1, own.shape[1], 1, 1, 1)
            repeated.append(key)
        if given.shape == own.shape:
            done[key] = given
    network.load_state_dict(done, strict=False)
    return Transfer(
        copied=tuple(key for key in done if key not in repeated),
        repeated=tuple(repeated),
        kept=tuple(key for key in network.state_dict() if key not in done),
    )


def convert(source: Path, target: Path, *, form: Form) -> StuNetConfig:
    """Write the weights of `source` (either form, or a plain state dict) as an nnU-Net v1 or v2 file.

    Only weights are carried over, checked to be a whole STU-Net's: the target serves as pretrained weights
    (`-pretrained_weights`), not to resume a training. Plans are separate files in both versions.

    Raises:
        WeightsError: `source` does not hold a STU-Net.
        UsageError: `target` is there already.
        OutputError: `target` cannot be written.
    """
    if target.exists():
        raise UsageError(f"{target} is there already: choose another name or remove it.")
    state = read_state_dict(source, wrapper=WRAPPERS["v1"], converted=True)
    config = config_from_state(state, source=source)
    load_network(state, config=config, source=source)
    content: dict[str, Any] = {WRAPPERS[form]: {key: value.clone() for key, value in state.items()}}
    if form == "v1":  # what v1 unpacks whenever it opens a file
        content |= {
            "epoch": 0,
            "optimizer_state_dict": None,
            "lr_scheduler_state_dict": None,
            "plot_stuff": ([], [], [], []),
        }
    with writing("the converted checkpoint", target), replacing(target) as temporary:
        torch.save(content, temporary)
    return config

"""Both networks as one kind of thing: their configurations, how they are made, their layers and heads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from omlab_misfm.fmunet import Fmunet, FmunetConfig, untrained_fmunet
from omlab_misfm.levels import LEVELS, Triple
from omlab_misfm.pctnet import Pctnet, PctnetConfig, untrained_pctnet

Network = Fmunet | Pctnet
Config = FmunetConfig | PctnetConfig

PATCH: Triple = (64, 128, 128)
"""The published window."""
TINY_PATCH: Triple = (16, 32, 32)

CONFIGS: dict[str, Config] = {
    "misfm-pctnet": PctnetConfig(num_classes=5),
    "misfm-fmunet": FmunetConfig(num_classes=5),
    "misfm-pctnet-tiny": PctnetConfig(
        num_classes=5, input_size=TINY_PATCH, widths=(8, 16, 24, 32, 48), heads=(2, 2, 4)
    ),
    "misfm-fmunet-tiny": FmunetConfig(num_classes=5, widths=(8, 16, 24, 32, 48), depth=1),
}
"""By the cards' names; the tiny ones are ours, for tests and demonstrations, and were never published."""

_CLASSES = re.compile(r"(^out_layers\.\d\.2|\.out_conv\d\.conv\.2)\.(weight|bias)$")
_INPUT = re.compile(r"^(project|embeddings\.\d\.proj)\.weight$")
_HEADS = re.compile(r"^out_layers\.|\.out_conv\d\.")


def untrained(config: Config, *, seed: int = 0) -> Network:
    """A network with its initial values, the same ones for the same seed, in eval mode."""
    if isinstance(config, PctnetConfig):
        return untrained_pctnet(config, seed=seed)
    return untrained_fmunet(config, seed=seed)


def is_of_classes(key: str) -> bool:
    """Whether an entry of a state has a row for each class."""
    return _CLASSES.search(key) is not None


def is_of_channels(key: str) -> bool:
    """Whether an entry of a state has a column for each channel of the image."""
    return _INPUT.search(key) is not None


def patch_of(config: Config, *, otherwise: Triple) -> Triple:
    """The window that a network is made for; `otherwise` where it takes any."""
    return config.input_size if isinstance(config, PctnetConfig) else otherwise


def made_for(config: Config, patch: Triple) -> Config:
    """`config` for windows of `patch`. Raises `ValueError` where it cannot be divided."""
    return replace(config, input_size=patch) if isinstance(config, PctnetConfig) else config


def layers_of(network: Network) -> list[list[str]]:
    """Parameter names from input to head."""
    if isinstance(network, Pctnet):
        parts = [
            ["embeddings."],
            ["pyramid_ct.convtrans_e2."],
            ["pyramid_ct.down3.", "pyramid_ct.convtrans_e3."],
            ["pyramid_ct.down4.", "pyramid_ct.convtrans_e4."],
            ["pyramid_ct.up4.", "pyramid_ct.convtrans_d3."],
            ["pyramid_ct.up3.", "pyramid_ct.convtrans_d2."],
            ["pred_heads."],
        ]
    else:
        last = LEVELS - 1
        parts = [["project.", "encoder.en_conv0."]]
        parts += [[f"encoder.down{n - 1}.", f"encoder.en_conv{n}."] for n in range(1, LEVELS)]
        parts += [[f"decoder.de_conv{last}."]]
        parts += [[f"decoder.upcat{n}.", f"decoder.de_conv{n}."] for n in range(last - 1, -1, -1)]
    names = [name for name, _ in network.named_parameters()]
    heads = [name for name in names if _HEADS.search(name)]
    body = [name for name in names if not _HEADS.search(name)]
    return [*([name for name in body if name.startswith(tuple(prefixes))] for prefixes in parts), heads]


def config_to_json(config: Config) -> dict[str, Any]:
    """As plain JSON values."""
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}
    return {"network": "pctnet" if isinstance(config, PctnetConfig) else "fmunet", **values}


def config_from_json(values: Mapping[str, Any]) -> Config:
    """The reverse of `config_to_json`. Raises `KeyError`, `TypeError` or `ValueError` for anything else."""
    form: type[FmunetConfig] | type[PctnetConfig] = {"pctnet": PctnetConfig, "fmunet": FmunetConfig}[values["network"]]
    names = {field.name for field in fields(form)}
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key in names
    }
    return form(**given)

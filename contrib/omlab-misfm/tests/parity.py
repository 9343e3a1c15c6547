"""How this package answers golden cases: both networks of any widths, modes and sizes.

`check` answers the file without a network: Volume Fusion from recorded draws, losses, normalisation, rates and windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from omlab_misfm.fmunet import Fmunet, FmunetConfig, untrained_fmunet
from omlab_misfm.pctnet import Pctnet, PctnetConfig, untrained_pctnet

Case = Mapping[str, Any]


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode; which one, its build tells."""
    shape = case["build"]
    common: dict[str, Any] = {
        "in_channels": shape["in_chns"],
        "num_classes": shape["class_num"],
        "widths": tuple(shape["feature_chns"]),
    }
    if "depth" in shape:
        return untrained_fmunet(
            FmunetConfig(
                depth=shape["depth"], resolution_mode=shape["res_mode"], dropout=shape.get("dropout", 0.2), **common
            )
        )
    config = PctnetConfig(
        input_size=tuple(shape["input_size"]),
        dropout=tuple(shape["dropout"]),
        resolution_mode=shape["resolution_mode"],
        depths=tuple(shape["depths"]),
        heads=tuple(shape["num_heads"]),
        windows=tuple(shape["window_sizes"]),
        **common,
    )
    return untrained_pctnet(config)


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The logits of all levels and what the parts give, by the case's names for them."""
    parts, levels = (
        (_fmunet_parts(module), "logits_level{}")
        if isinstance(module, Fmunet)
        else (_pctnet_parts(module), "logits_{}")
    )
    with torch.inference_mode(), _recorded(parts) as outputs:
        found = module(inputs["image"], deep_supervision=True)
        alone = module(inputs["image"])
    assert torch.allclose(alone, found[0], atol=1e-6)  # the heads left out at inference change nothing
    named = [levels.format(n if isinstance(module, Fmunet) else 2**n) for n in range(1, len(found))]
    return {**outputs, "logits": found[0], **dict(zip(named, found[1:], strict=True))}


def _fmunet_parts(module: Fmunet) -> dict[str, nn.Module]:
    parts: dict[str, nn.Module] = {"project": module.project}
    parts |= {f"encoder{n}": module.encoder.get_submodule(f"en_conv{n}") for n in range(5)}
    parts |= {f"decoder{n}": module.decoder.get_submodule(f"de_conv{n}") for n in range(5)}
    parts |= {f"encoder.down{n}": module.encoder.get_submodule(f"down{n}") for n in range(4)}
    return parts | {f"decoder.upcat{n}.up": module.decoder.get_submodule(f"upcat{n}.up") for n in range(4)}


def _pctnet_parts(module: nn.Module) -> dict[str, nn.Module]:
    assert isinstance(module, Pctnet)
    mode = module.config.resolution_mode
    embedding, head = module.embeddings[mode], module.pred_heads[mode]
    parts = {"embed.proj": "proj", "embed.x0": "conv0", "embed.x1": "conv1", "embed.x2": "down2"}
    found = {name: embedding.get_submodule(path) for name, path in parts.items()}
    found |= {f"head.{name}": head.get_submodule(name) for name in ("up2", "conv1", "up1", "conv0")}
    for level in ("e2", "e3", "e4", "d3", "d2"):
        part = module.pyramid_ct.get_submodule(f"convtrans_{level}")
        found |= {f"convtrans_{level}": part, f"convtrans_{level}.conv": part.get_submodule("conv")}
        blocks = part.get_submodule("trans.blocks").named_children()
        found |= {f"convtrans_{level}.block{number}": block for number, block in blocks}
    return found


@contextmanager
def _recorded(parts: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """What the parts give in their first call."""
    outputs: dict[str, Tensor] = {}
    handles = []
    for name, part in parts.items():

        def keep(_module: nn.Module, _inputs: Any, output: Tensor, *, name: str = name) -> None:
            outputs.setdefault(name, output.clone())

        handles.append(part.register_forward_hook(keep))
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()

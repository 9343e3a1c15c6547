"""How this package answers golden cases of any sizes, widths, poolings and constraints, and files without a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from omlab_axonseg import axial_unet
from omlab_axonseg.axial_unet import AxialUNet, UNetConfig
from omlab_axonseg.cea_net import CeaNet
from omlab_axonseg.registration.cascade import Cascade, CascadeConfig
from omlab_axonseg.residual_unet import ResidualUNet

Case = Mapping[str, Any]


def build(case: dict[str, Any]) -> nn.Module:
    """The network that the case names by its hyper-parameters, untrained, in eval mode."""
    shape = case["build"]
    if "constraints" in shape:
        return Cascade(_cascade(shape)).eval()
    if "base_n_filter" in shape:
        names = ("in_channels", "n_classes", "base_n_filter")
        return ResidualUNet(**{name: shape[name] for name in names if name in shape}).eval()
    if "base_features" in shape:
        return axial_unet.untrained(_unet(shape))
    return CeaNet(num_classes=shape["num_classes"], num_channels=shape.get("num_channels", 1)).eval()


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs that the case names."""
    with torch.inference_mode():
        if isinstance(module, Cascade):
            return _registered(module, inputs)
        with _recorded(module) as outputs:
            if isinstance(module, AxialUNet):
                levels = module(inputs["image"], deep_supervision=True)
                outputs |= {"logits": levels[0]} | {f"deep{n}": levels[n] for n in range(1, len(levels))}
                return {name: one.movedim(-1, 1) if ".axis" in name else one for name, one in outputs.items()}
            outputs["logits"] = module(inputs["image"])
        return outputs


def _unet(shape: Case) -> UNetConfig:
    return UNetConfig(
        in_channels=shape["in_channels"],
        num_classes=shape["num_classes"],
        base_features=shape["base_features"],
        max_features=shape["max_features"],
        poolings=tuple(tuple(pooling) for pooling in shape["pool_op_kernel_sizes"]),
        convs=shape["convs_per_stage"],
        attention=shape["axial_attention"],
        heads=shape["heads"],
        head_size=shape["dim_heads"],
        volume=tuple(shape["volume_shape"]),
        no_attention=tuple(shape["no_attention"]),
    )


def _cascade(shape: Case) -> CascadeConfig:
    if shape.get("scale", 1) != 1:
        raise NotImplementedError(f"a registration of scale {shape['scale']}: its further branches are not known")
    return CascadeConfig(
        constraints=tuple(shape["constraints"]),
        affine_fusion=shape["affine_fusion"],
        nonrigid_fusion=shape["nonrigid_fusion"],
        rigid=shape["rigid"],
        box_filter=shape["box_filter"],
        max_delta=shape["max_delta"],
    )


def _registered(module: Cascade, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    sides = {
        side: {name: inputs[f"{side}_{name}"].float() for name in module.config.constraints} for side in ("fix", "mov")
    }
    outputs: dict[str, Tensor] = {}
    for number, step in enumerate(module(sides["fix"], sides["mov"])):
        if step.matrix is not None:
            outputs[f"matrix{number}"] = step.matrix
        if step.displacement is not None:
            outputs["displacement"] = step.displacement
        outputs |= {f"{step.name}.registered_{name}": one for name, one in step.warped.items()}
        outputs |= {f"{step.name}.registered_{name}_raw": one for name, one in step.raw.items()}
    return outputs


def _parts(module: nn.Module) -> dict[str, nn.Module]:
    """The parts whose outputs cases name, by their names there."""
    if isinstance(module, AxialUNet):
        parts = {f"encoder{n}": one for n, one in enumerate(module.conv_blocks_context)}
        parts |= {f"transposed{n}": one for n, one in enumerate(module.tu)}
        parts |= {f"position{n}": one for n, one in module.axial_embedding.items()}
        for n, attention in module.axial_attention.items():
            parts |= {f"attention{n}": attention}
            parts |= {f"attention{n}.axis{axis}": one for axis, one in enumerate(attention.axial_attentions)}
        return parts | {f"decoder{n}": one for n, one in enumerate(module.conv_blocks_localization)}
    if isinstance(module, CeaNet):
        names = {"dac": "dblock", "attention": "att", "spp": "spp", "firstconv": "firstconv"}
        names |= {f"{part}{n}": f"{part}{n}" for part in ("encoder", "decoder") for n in range(1, 5)}
        return {name: module.get_submodule(part) for name, part in names.items()}
    return {}


@contextmanager
def _recorded(module: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What the parts of the network give."""
    outputs: dict[str, Tensor] = {}
    handles = []
    for name, part in _parts(module).items():

        def keep(_module: nn.Module, _inputs: Any, output: Tensor, *, name: str = name) -> None:
            outputs[name] = output.clone()

        handles.append(part.register_forward_hook(keep))
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()

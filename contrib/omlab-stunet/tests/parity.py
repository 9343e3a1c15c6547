"""How this package answers golden cases of any widths, depth, poolings and classes: networks and sliding windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from omlab_stunet.network import StuNet, StuNetConfig, untrained
from omlab_stunet.plan import fill_poolings
from omlab_volume.inference.sliding_window import predict_scores


def build(case: dict[str, Any]) -> StuNet:
    """The network with the case's hyper-parameters, untrained, in eval mode."""
    shape = case["build"]
    kernels = shape.get("conv_kernel_sizes", [])
    if any(tuple(kernel) != (3, 3, 3) for kernel in kernels):
        raise ValueError(f"All kernels of STU-Net are 3x3x3, not {kernels}.")
    config = StuNetConfig(
        depth=tuple(shape["depth"]),
        dims=tuple(shape["dims"]),
        in_channels=shape["in_channels"],
        num_classes=shape["num_classes"],
        poolings=fill_poolings(shape["pool_op_kernel_sizes"], count=len(shape["dims"]) - 1),
    )
    return untrained(config)


def run(module: StuNet, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a whole-image case, or of a sliding-window case (an image without a batch axis)."""
    with torch.inference_mode():
        if inputs["image"].ndim == 4:
            return _sliding_window(module, case, inputs["image"])
        with _recorded(module) as outputs:
            levels = module(inputs["image"], deep_supervision=True)
        outputs |= {"logits": levels[0], "probabilities": levels[0].softmax(dim=1)}
        outputs |= {f"deep{level}": levels[level] for level in range(1, len(levels))}
        assert torch.equal(module(inputs["image"]), levels[0])  # the heads left out at inference change nothing
        return outputs


@contextmanager
def _recorded(module: StuNet) -> Iterator[dict[str, Tensor]]:
    """What the parts of the network give, by the cases' names for them."""
    parts: dict[str, nn.Module] = {"stage0.block0.conv1": module.get_submodule("conv_blocks_context.0.0.conv1")}
    parts |= {f"encoder{n}": stage for n, stage in enumerate(module.conv_blocks_context)}
    parts |= {f"upsample{n}": layer for n, layer in enumerate(module.upsample_layers)}
    parts |= {f"decoder{n}": stage for n, stage in enumerate(module.conv_blocks_localization)}
    outputs: dict[str, Tensor] = {}
    handles = []
    for name, part in parts.items():

        def keep(_module: nn.Module, _inputs: Any, output: Tensor, *, name: str = name) -> None:
            outputs[name] = output.clone()

        handles.append(part.register_forward_hook(keep))
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _sliding_window(module: StuNet, case: dict[str, Any], image: Tensor) -> dict[str, Tensor]:
    """Only the mirrorings that the case asks for: with them it takes eight times as long."""
    patch, classes = case["build"]["patch_size"], module.config.num_classes
    outputs: dict[str, Tensor] = {}
    for name, mirror in (("no_tta", False), ("tta", True)):
        if any(wanted.endswith(f"s_{name}") for wanted in case["outputs"]):
            scores = predict_scores(module, image, patch_size=patch, classes=classes, mirror=mirror)
            outputs |= {f"probabilities_{name}": scores, f"labels_{name}": scores.argmax(dim=0)}
    return outputs

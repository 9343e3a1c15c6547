"""STU-Net with and without the fused norm, in both memory layouts; rows are appended to `results.csv`.

    python network.py [--device cuda] [--only forward] [--repeats 20]

Ways: PyTorch's own norm, addition and LeakyReLU (`eager`), the same under torch.compile (`compiled`, on a GPU), and
`fused`; `-last` is channels-last. `forward` is inference, `training` forward and backward over all levels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[3] / "packages" / "omlab-kernels" / "benchmarks"))

from measure import Case, Once, Prepare, Shape, main

from omlab_stunet import network
from omlab_stunet.network import SIZES, SLOPE, StuNet, untrained

WAYS = ["eager", "eager-last", "compiled", "compiled-last", "fused", "fused-last"]


def pytorchs_own(x: Tensor, norm: nn.InstanceNorm3d, *, residual: Tensor | None = None) -> Tensor:
    y = norm(x)
    if residual is not None:
        y += residual
    return functional.leaky_relu(y, SLOPE, inplace=True)


def prepared(
    way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype
) -> tuple[nn.Module, Tensor]:
    """The network and its input. `drawn` rounds the input and the weights."""
    if not way.startswith("fused"):
        network._norm_act = pytorchs_own
    layout = torch.channels_last_3d if way.endswith("last") else torch.contiguous_format
    module: nn.Module = untrained(SIZES[shape["size"]]).to(device, drawn).to(dtype).to(memory_format=layout)
    x = torch.randn(shape["batch"], 1, *[shape["side"]] * 3, generator=torch.Generator().manual_seed(0))
    if way.startswith("compiled"):
        module = torch.compile(module)
    return module, x.to(device, drawn).to(dtype)


def forward(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    module, x = prepared(way, shape, device=device, drawn=drawn, dtype=dtype)
    module.eval()

    def once() -> tuple[Tensor, ...]:
        with torch.inference_mode():
            return (module(x),)

    return once


def training(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    module, x = prepared(way, shape, device=device, drawn=drawn, dtype=dtype)
    module.train()
    weights = list(module.parameters())

    def once() -> tuple[Tensor, ...]:
        levels = module(x)
        gradients = torch.autograd.grad([level.sum() for level in levels], weights)
        return levels[0].detach(), gradients[0]  # the first convolution's: what all others went into

    return once


def operations(shape: Shape) -> float:
    """Of one forward pass: its convolutions."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        StuNet(SIZES[shape["size"]])(torch.empty(shape["batch"], 1, *[shape["side"]] * 3), deep_supervision=True)
    return float(counter.get_total_flops())


def case(prepare: Prepare, *, passes: int) -> Case:
    return Case(
        ways=WAYS,
        shapes={
            "cpu": [{"size": "small", "batch": 1, "side": 64}],
            "cuda": [{"size": size, "batch": 2, "side": 128} for size in ("base", "large")],
        },
        prepare=prepare,
        work=lambda shape, size: (0, passes * operations(shape)),
        exact=lambda shape: shape["side"] <= 64,
    )


CASES = {"forward": case(forward, passes=1), "training": case(training, passes=3)}

if __name__ == "__main__":
    main(CASES, script=__file__, about=str(__doc__))

"""STU-Net with and without the fused norm, in both memory layouts; rows are appended to `results.csv`.

    python network.py [--device cuda] [--only forward] [--repeats 20]

Ways: PyTorch's own norm, addition and LeakyReLU (`eager`), the same under torch.compile (`compiled`, on a GPU), and
`fused`, also compiled; `-last` is channels-last. `forward` is inference, `training` forward and backward over all
levels. `prediction` goes from a whole image to its labels by sliding window: the `network` alone on all windows, and
`ours` with what comes after it.
"""

from __future__ import annotations

import sys
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[3] / "packages" / "omlab-kernels" / "benchmarks"))

from measure import Case, Once, Prepare, Shape, main

from omlab_stunet import network
from omlab_stunet.network import SIZES, StuNet, on_device, untrained

WAYS = ["eager", "eager-last", "compiled", "compiled-last", "compiled-fused-last", "fused", "fused-last"]


def prepared(
    way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype
) -> tuple[nn.Module, Tensor]:
    """The network and its input. `drawn` rounds the input and the weights."""
    network._norm_act = network.fused if "fused" in way else network.in_place
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


def prediction(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    from omlab_volume.inference.export import predict_labels
    from omlab_volume.inference.windows import window_starts

    windows = Windows(on_device(untrained(SIZES[shape["size"]]), device), dtype=dtype)
    sides, patch = [shape["slices"], shape["side"], shape["side"]], [shape["patch"]] * 3
    image = torch.randn(1, *sides, generator=torch.Generator().manual_seed(0))
    how = {"patch_size": patch, "classes": windows.module.config.num_classes, "mirror": False, "device": device}

    def once() -> tuple[Tensor, ...]:
        if way == "ours":
            return (torch.from_numpy(predict_labels(windows, image, **how)),)
        starts = [window_starts(n, size, step=0.5) for n, size in zip(sides, patch, strict=True)]
        with torch.inference_mode():
            for _ in range(prod(len(places) for places in starts)):
                windows(image[None, :, : patch[0], : patch[1], : patch[2]].to(device))
        return ()

    return once


class Windows(nn.Module):
    """A network in `dtype` for windows in float32."""

    def __init__(self, module: StuNet, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.module, self.dtype = module.to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.module(x.to(self.dtype))
        return found


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
            "rehearsal": [{"size": "tiny", "batch": 1, "side": 32}],
        },
        prepare=prepare,
        work=lambda shape, size: (0, passes * operations(shape)),
        exact=lambda shape: shape["side"] <= 64,
    )


CASES = {
    "forward": case(forward, passes=1),
    "training": case(training, passes=3),
    "prediction": Case(
        ways=["network", "ours"],
        shapes={
            "cpu": [{"size": "tiny", "side": 48, "slices": 32, "patch": 32}],
            "cuda": [{"size": "base", "side": 512, "slices": 600, "patch": 128}],
            "rehearsal": [{"size": "tiny", "side": 40, "slices": 32, "patch": 32}],
        },
        prepare=prediction,
        work=lambda shape, size: (0, 0),  # no floor: windows overlap by choice
        exact=lambda shape: False,
        long=True,
    ),
}

if __name__ == "__main__":
    main(CASES, script=__file__, about=str(__doc__))

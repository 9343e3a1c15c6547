"""Time, memory and error of each operator beside what a user would call today; rows are appended to `results.csv`.

    python bench.py [--device cuda] [--only attention] [--repeats 20]

Each way runs in a process of its own. A row's time is forward and backward together; its peak is beyond the inputs.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

RESULTS = Path(__file__).with_name("results.csv")
COLUMNS = [
    "op", "way", "shape", "dtype", "p20_ms", "p50_ms", "p80_ms", "peak_mib", "error", "floor_ms",
    "device", "driver", "threads", "torch", "triton", "date",
]  # fmt: skip
BANDWIDTH = 4.3e12  # bytes/s, one H200, measured as read + written
SHAPES = {
    "cpu": {
        "attention": [{"grid": 8, "heads": 12, "width": 64}, {"grid": 12, "heads": 4, "width": 64}],
        "loss": [{"classes": 14, "side": 64}, {"classes": 105, "side": 32}],
        "norm": [{"channels": 32, "side": 48, "last": 0}, {"channels": 32, "side": 48, "last": 1}],
    },
    "cuda": {
        "attention": [{"grid": side, "heads": 12, "width": 64} for side in (8, 16, 24)],
        "loss": [{"classes": 14, "side": 128}, {"classes": 105, "side": 128}],
        "norm": [{"channels": 32, "side": 128, "last": 0}, {"channels": 32, "side": 128, "last": 1}],
    },
}
WAYS = {
    "attention": ["naive", "sdpa-mask", "flex", "ours"],
    "loss": ["naive", "monai", "naive-compiled", "ours"],
    "norm": ["pytorch", "pytorch-compiled", "ours"],
}


def attention_case(device: str, dtype: torch.dtype, *, grid: int, heads: int, width: int) -> list[Tensor]:
    tokens = grid**3
    shapes = [(1, heads, tokens, width)] * 3 + [(1, heads, tokens, grid)] * 3
    torch.manual_seed(0)
    return [torch.randn(shape).to(device, dtype).requires_grad_() for shape in shapes]


def attention_way(way: str, tensors: list[Tensor], *, grid: int, **_: int) -> Tensor:
    q, k, v, *thin = tensors
    places = torch.unravel_index(torch.arange(grid**3, device=q.device), (grid, grid, grid))
    pairs = list(zip(thin, places, strict=True))
    if way == "naive":
        from omlab_kernels.relpos.naive import attention_relpos as naive

        return naive(q, k, v, pairs, scale=q.shape[-1] ** -0.5)
    if way == "sdpa-mask":
        bias = sum(factor[..., index] for factor, index in pairs)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    if way == "flex":
        from torch.nn.attention.flex_attention import flex_attention

        def add(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return score + sum(factor[b, h, i, index[j]] for factor, index in pairs)

        return torch.compile(flex_attention)(q, k, v, score_mod=add)
    from omlab_kernels import attention_relpos

    return attention_relpos(q, k, v, pairs)


def loss_case(device: str, dtype: torch.dtype, *, classes: int, side: int) -> list[Tensor]:
    torch.manual_seed(0)
    logits = torch.randn(1, classes, side, side, side).to(device, dtype).requires_grad_()
    return [logits, torch.randint(0, classes, (1, side, side, side)).to(device)]


def loss_way(way: str, tensors: list[Tensor], **_: int) -> Tensor:
    logits, labels = tensors
    if way == "monai":
        from monai.losses import DiceCELoss

        return DiceCELoss(softmax=True, to_onehot_y=True)(logits, labels[:, None])
    if way == "ours":
        from omlab_kernels import dice_cross_entropy

        return dice_cross_entropy(logits, labels)
    return (torch.compile(naive_loss) if way == "naive-compiled" else naive_loss)(logits, labels)


def norm_case(device: str, dtype: torch.dtype, *, channels: int, side: int, last: int) -> list[Tensor]:
    torch.manual_seed(0)
    layout = torch.channels_last_3d if last else torch.contiguous_format
    x = torch.randn(1, channels, side, side, side).to(device, dtype, memory_format=layout).requires_grad_()
    weight, bias = (torch.randn(channels).to(device, dtype).requires_grad_() for _ in range(2))
    return [x, weight, bias]


def norm_way(way: str, tensors: list[Tensor], **_: int) -> Tensor:
    if way == "ours":
        from omlab_kernels import instance_norm_act

        return instance_norm_act(*tensors)
    return (torch.compile(norm_of_pytorch) if way == "pytorch-compiled" else norm_of_pytorch)(*tensors)


def norm_of_pytorch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    functional = torch.nn.functional
    return functional.leaky_relu(functional.instance_norm(x, weight=weight, bias=bias), 0.01)


def naive_loss(logits: Tensor, labels: Tensor) -> Tensor:
    from omlab_kernels.dice_ce.naive import class_sums

    overlap, size, count, entropy, *_ = class_sums(
        logits, labels, sigmoid=False, squared=False, gamma=None, ignore=None
    )
    return (1 - (2 * overlap + 1e-5) / (size + count + 1e-5)).mean() + entropy.sum() / labels.numel()


CASES: dict[str, tuple[Callable[..., list[Tensor]], Callable[..., Tensor]]] = {
    "attention": (attention_case, attention_way),
    "loss": (loss_case, loss_way),
    "norm": (norm_case, norm_way),
}


def floor_ms(op: str, shape: dict[str, int], size: int) -> float:
    """What must move at `BANDWIDTH`: three passes over the logits, or q, k, v, out and gradients."""
    if op == "loss":
        return 3e3 * shape["classes"] * shape["side"] ** 3 * size / BANDWIDTH
    if op == "norm":  # x is read twice and written once; then x and the gradient are read twice
        return 8e3 * shape["channels"] * shape["side"] ** 3 * size / BANDWIDTH
    return 12e3 * shape["heads"] * shape["grid"] ** 3 * shape["width"] * size / BANDWIDTH


def child(task: dict[str, Any]) -> dict[str, Any]:
    """Measure one way here."""
    op, way, shape, device = task["op"], task["way"], task["shape"], task["device"]
    make, call = CASES[op]
    tensors = make(device, getattr(torch, task["dtype"]), **shape)
    wanted_by = [tensor for tensor in tensors if tensor.requires_grad]

    def once() -> tuple[Tensor, ...]:
        out = call(way, tensors, **shape)
        return out, *torch.autograd.grad(out.sum(), wanted_by)

    found = once()
    peak = peak_mib(once, device)
    times = []
    for _ in range(task["repeats"]):
        start = time.perf_counter()
        once()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    if device == "cuda":
        torch.cuda.empty_cache()
    exact = [t.detach().double().requires_grad_() if t.requires_grad else t for t in tensors]
    small = all(shape.get(name, 0) <= limit for name, limit in (("grid", 16), ("side", 64)))
    error = float("nan")
    if small:  # larger ones do not fit in float64
        out = call(WAYS[op][0], exact, **shape)
        wanted = (out, *torch.autograd.grad(out.sum(), [t for t in exact if t.requires_grad]))
        error = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, wanted, strict=True))
    cuts = statistics.quantiles(times, n=10) if len(times) > 1 else times * 9
    return {"p20_ms": cuts[1], "p50_ms": cuts[4], "p80_ms": cuts[7], "peak_mib": peak, "error": error}


def peak_mib(once: Callable[[], object], device: str) -> float:
    """Memory at its highest beyond what was held before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        once()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        once()
    held = highest = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            highest = max(highest, held)
    return highest / 2**20


def driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", choices=list(CASES))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--child")
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(child(json.loads(chosen.child))))
        return
    cuda = chosen.device == "cuda"
    machine = {
        "device": torch.cuda.get_device_name() if cuda else f"no GPU: {platform.machine()} CPU",
        "driver": driver() if cuda else "",
        "threads": torch.get_num_threads(), "torch": torch.__version__, "triton": installed("triton"),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }  # fmt: skip
    dtype = "bfloat16" if cuda else "float32"
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        for op in [chosen.only] if chosen.only else CASES:
            for shape in SHAPES[chosen.device][op]:
                for way in WAYS[op]:
                    if not cuda and way in ("flex", "naive-compiled", "pytorch-compiled"):
                        continue  # they are for GPUs
                    task = {"op": op, "way": way, "shape": shape, "device": chosen.device, "dtype": dtype}
                    command = [sys.executable, __file__, "--child", json.dumps(task | {"repeats": chosen.repeats})]
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                    if done.returncode:
                        print(f"{op} {shape} {way}: no row: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                        continue
                    row = {name: f"{value:.4g}" for name, value in json.loads(done.stdout.splitlines()[-1]).items()}
                    row["floor_ms"] = f"{floor_ms(op, shape, 2):.4g}" if cuda else ""
                    text = " ".join(f"{name}={value}" for name, value in shape.items())
                    writer.writerow({"op": op, "way": way, "shape": text, "dtype": dtype, **row, **machine})
                    file.flush()
                    print(op, way, text, row)


if __name__ == "__main__":
    main()

"""Look into the kernels with NVIDIA's own programs, where these are: memory errors at odd shapes, and what limits two.

python3 -m tools.gpu.probe [--rehearse]       # `--calls odd|large` is what the programs run
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

import omlab_kernels
from tools.gpu.check import SKIPPED

PLACES = ("usr/local/cuda/bin", "opt/nvidia/nsight-compute/*", "usr/local/cuda/nsight-compute*")
MEASURED = "regex:_query_gradient_kernel|_sums_kernel"


def main() -> int:
    """Run the programs that are here; 77 where there are none."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--calls", choices=["odd", "large"])
    asked = parser.parse_args()
    if asked.rehearse:
        odd("cpu")
        print("odd shapes run; no program looked")
        return 0
    if asked.calls:
        (odd if asked.calls == "odd" else large)("cuda")
        return 0
    codes = {}
    if program := _found("compute-sanitizer"):
        memory = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # each tensor an allocation: its ends are seen
        codes["compute-sanitizer"] = _run([program, "--tool", "memcheck", "--error-exitcode", "9"], "odd", memory)
    if program := _found("ncu"):
        sections = [part for name in ("SpeedOfLight", "Occupancy", "WarpStateStats") for part in ("--section", name)]
        codes["ncu"] = _run([program, "--kernel-name", MEASURED, "--launch-count", "2", *sections], "large", {})
    if not codes:
        print("neither compute-sanitizer nor ncu is here")
        return SKIPPED
    print(
        ", ".join(f"{name}: {'nothing found' if not code else f'exit status {code}'}" for name, code in codes.items())
    )
    return int(any(codes.values()))


def odd(device: str) -> None:
    """Each operator forward and backward at shapes that no tile divides."""
    attention(device, queries=77, keys=131, head=40)
    labels = torch.arange(5 * 7 * 11, device=device).reshape(1, 5, 7, 11) % 13
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        logits = torch.randn(1, 13, 5, 7, 11, device=device).contiguous(memory_format=layout).requires_grad_()
        omlab_kernels.dice_cross_entropy(logits, labels, ignore=3).backward()  # type: ignore[no-untyped-call]
        x = torch.randn(2, 5, 7, 9, 11, device=device).contiguous(memory_format=layout).requires_grad_()
        omlab_kernels.instance_norm_act(x, residual=x.detach()).sum().backward()  # type: ignore[no-untyped-call]
    first, second = torch.randn(2, 1, 17, 19, 23, device=device)
    classes = torch.arange(27, device=device).reshape(3, 3, 3) % 5
    omlab_kernels.volume_fusion(first, second, classes, block=(5, 5, 7), offset=(2, 3, 1), count=4)
    prediction = torch.randn(2, 16, 75, device=device).requires_grad_()
    images, mask = torch.randn(2, 3, 20, 20, device=device), torch.arange(32, device=device).reshape(2, 16) % 3
    omlab_kernels.masked_patch_error(prediction, images, mask, patch=5).backward()  # type: ignore[no-untyped-call]
    student, teacher = torch.randn(3, 2, 777, device=device).requires_grad_(), torch.randn(2, 2, 777, device=device)
    omlab_kernels.self_distillation(student, teacher).backward()  # type: ignore[no-untyped-call]
    layer = torch.randn(37, 77, device=device), torch.randn(37, device=device)
    score = torch.randn(3, 37, device=device), torch.randn(3, device=device)
    rows, offsets = (
        torch.randn(333, 77, device=device).requires_grad_(),
        torch.tensor([0, 131, 131, 333], device=device),
    )
    pooled, _ = omlab_kernels.gated_pooling(rows, offsets, value=layer, gate=layer, score=score)
    pooled.sum().backward()  # type: ignore[no-untyped-call]
    scores, weights = torch.randn(13, 9, 7, 5, device=device), torch.rand(9, 7, 5, device=device)
    sums = torch.zeros(13, 4, 3, 5, device=device)
    omlab_kernels.window_accumulate(sums, scores, weights, start=(5, 1, 0), flip=(0, 2), softmax=True)
    lower = torch.arange(11) * 4 // 11
    omlab_kernels.window_argmax(scores, [(lower, lower + 1, torch.linspace(0, 1, 11))] * 3)
    if device == "cuda":
        torch.cuda.synchronize()


def attention(device: str, *, queries: int, keys: int, head: int, dtype: torch.dtype = torch.float32) -> None:
    """With two factors and a sink."""

    def drawn(*shape: int) -> Tensor:
        return torch.randn(1, 3, *shape, device=device, dtype=dtype).requires_grad_()

    q, k, v, logit = drawn(queries, head), drawn(keys, head), drawn(keys, head), drawn(queries)
    factors = [(drawn(queries, count), torch.arange(keys, device=device) % count) for count in (5, 70)]
    value = torch.randn(3, head, device=device, dtype=dtype)
    out = omlab_kernels.attention_relpos(q, k, v, factors, sink_logit=logit, sink_value=value)
    out.sum().backward()  # type: ignore[no-untyped-call]


def large(device: str) -> None:
    """Attention of 4,096 tokens and Dice of 14 classes, backward too: what is measured by itself."""
    attention(device, queries=4096, keys=4096, head=64, dtype=torch.bfloat16)
    logits = torch.randn(1, 14, 128, 128, 128, device=device, dtype=torch.bfloat16, requires_grad=True)
    labels = torch.randint(0, 14, (1, 128, 128, 128), device=device)
    omlab_kernels.dice_cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()


def _found(name: str) -> str | None:
    found = [str(folder) for place in PLACES for folder in sorted(Path("/").glob(place))]
    path = os.pathsep.join([os.environ.get("PATH", ""), *found])
    return shutil.which(name, path=path)


def _run(program: list[str], calls: str, environment: dict[str, str]) -> int:
    command = [*program, sys.executable, "-u", "-m", "tools.gpu.probe", "--calls", calls]
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

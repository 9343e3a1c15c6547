# mypy: disable-error-code="import-untyped"
"""Compile the kernels for a GPU that is not there, as their wrappers would launch them, and say what came out.

    python ahead.py CASE ...        # or patterns of cases: a line of JSON for each kernel that was compiled

Wrappers are called with tensors on the device `meta`; a launch compiles instead (for compute capability 9.0, with the
assembler that triton ships). A process of its own, since Triton must not have been asked for its interpreter.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
COMPILED: dict[str, Any] = {}


class NoDevice:
    """The driver of a GPU that compiles only."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


def compiling(kernel: Any, grid: tuple[int, ...]) -> Callable[..., None]:
    """Stands for `kernel[grid]`: compiles and keeps what is new."""

    def launch(*arguments: Any, **options: Any) -> None:
        made = kernel.warmup(*arguments, grid=grid, **options)
        COMPILED.setdefault(made.hash, (kernel.fn.__name__, options, made))

    return launch


def report(name: str, options: dict[str, Any], made: Any) -> dict[str, Any]:
    """Of a kernel: registers, bytes of stack (spills), shared memory, and products of float32 by their precision."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(made.asm["cubin"])
        command = [str(TOOLS / "cuobjdump"), "-res-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"{word}:(\d+)", usage)[1]) for word in ("REG", "STACK"))  # type: ignore[index]
    return {
        "kernel": name,
        "options": {key: value for key, value in options.items() if isinstance(value, int | str)},
        "registers": registers,
        "stack": stack,
        "shared": made.metadata.shared,
        "products": sorted(set(_float32_products(made.asm["ttir"]))),
    }


def _float32_products(code: str) -> list[str]:
    lines = [line for line in code.splitlines() if "tt.dot " in line and re.search(r"x[\dx]*f32> \* tensor", line)]
    found = [re.search(r"inputPrecision = (\w+)", line) for line in lines]
    return [match[1] if match else "ieee" for match in found]


def meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def attention(dtype: torch.dtype, tokens: int, width: int, columns: int, *, sink: bool = False) -> None:
    from omlab_kernels.relpos import triton as form
    from omlab_kernels.tiles import whole_columns

    kind = "single" if dtype == torch.float32 else "half"
    heads, columns = 2, whole_columns(columns, kind=kind) if columns else 0
    q = meta(1, heads, tokens, width, dtype=dtype)
    bias = meta(1, heads, tokens, columns, dtype=dtype)
    table = meta(tokens, columns, dtype=dtype)
    sums = meta(1, heads, tokens, dtype=torch.float32)
    logit, value = (sums, meta(1, heads, width, dtype=dtype)) if sink else (None, None)
    form.forward(q, q, q, bias, table, logit, value, 0.1)
    form.backward(q, q, q, q, bias, table, q, sums, 0.1)


def dice(dtype: torch.dtype, classes: int, side: int, *, last: bool = False, **options: Any) -> None:
    from omlab_kernels.dice_ce import triton as form

    logits = meta(1, side**3, classes, dtype=dtype).mT if last else meta(1, classes, side**3, dtype=dtype)
    given = {"sigmoid": False, "squared": False, "gamma": None, "ignore": None, "smoothed": False, **options}
    labels = meta(1, *([classes] if given["sigmoid"] else []), side**3, dtype=torch.int64)
    form.class_sums(logits, labels, **given)
    form.class_sums_backward(meta(6, 1, classes, dtype=torch.float32), logits, labels, **given)


def norm(dtype: torch.dtype, channels: int, side: int, *, last: bool = False, residual: bool = False) -> None:
    from omlab_kernels.norm_act import triton as form

    x = meta(2, side**3, channels, dtype=dtype).mT if last else meta(2, channels, side**3, dtype=dtype)
    weight, moments = meta(channels, dtype=dtype), meta(2, channels, dtype=torch.float32)
    other = torch.empty_like(x) if residual else None
    form.forward(x, weight, weight, other, "leaky_relu", 0.01, 1e-5)
    form.backward(x, x, weight, weight, other, moments, moments, "leaky_relu", 0.01)


def windows(dtype: torch.dtype) -> None:
    """Cells of several shapes and places, all mirrorings."""
    from omlab_kernels.window import triton as form

    scores, weights = meta(14, 32, 32, 32, dtype=dtype), meta(32, 32, 32, dtype=torch.float32)
    cells = [((16, 16, 16), (0, 0, 0), ()), ((1, 7, 16), (1, 3, 16), (2,)), ((5, 5, 5), (9, 1, 0), (0, 1))]
    for box, start, flip in cells:
        sums = meta(14, *box, dtype=torch.float32)
        form.window_accumulate(sums, scores, weights, start=start, flip=flip, softmax=True)
    for size in (17, 48, 64):
        places = torch.arange(size).clamp_max(31)
        form.window_argmax(scores, [(places, places, torch.zeros(size))] * 3)


def fusions(dtype: torch.dtype) -> None:
    from omlab_kernels.fusion import triton as form

    for side, cells, block in ((64, 7, 8), (63, 1, 5), (48, 16, 3)):
        volume, classes = meta(1, side, side, side, dtype=dtype), meta(cells, cells, cells, dtype=torch.int64)
        form.volume_fusion(volume, volume, classes, block=(block,) * 3, offset=(1, 0, 2), count=4)


def patches(dtype: torch.dtype) -> None:
    """MAE's patches of 16 and DINOv2's of 14, of images of several sizes."""
    from omlab_kernels.patch_error import triton as form

    for side, patch in ((224, 16), (448, 16), (224, 14)):
        images, L = meta(2, 3, side, side, dtype=dtype), (side // patch) ** 2
        prediction, mask = meta(2, L, 3 * patch * patch, dtype=dtype), meta(2, L, dtype=torch.uint8)
        options = {"patch": patch, "normalise": True, "eps": 1e-6}
        form.forward(prediction, images, mask, **options)
        form.backward(prediction, images, mask, meta(2, L, dtype=torch.float32), **options)


def distillations(dtype: torch.dtype) -> None:
    """DINO's ten views, and others, over as many outputs as it has."""
    from omlab_kernels.distillation import triton as form

    for views, of_teacher, outputs in ((10, 2, 65536), (8, 2, 4096), (2, 1, 65536), (32, 4, 1000)):
        student, teacher = meta(views, 8, outputs, dtype=dtype), meta(of_teacher, 8, outputs, dtype=dtype)
        center, pairs = meta(outputs, dtype=SINGLE), meta(of_teacher, views, dtype=SINGLE)
        rows, sums, sums_teacher = form.forward(student, teacher, center, pairs, 0.1, 0.04)
        form.backward(rows, student, teacher, center, pairs, sums, sums_teacher, 0.1, 0.04)


def poolings(dtype: torch.dtype) -> None:
    """CLAM-SB on a large bag, CLAM-MB on several, and attention without a gate on wide rows."""
    from omlab_kernels.gated_pooling import triton as form

    for count, width, hidden, branches, gated in (
        (100_000, 512, 256, 1, 1),
        (999, 512, 384, 3, 1),
        (5, 1536, 128, 1, 0),
    ):
        rows, offsets = meta(count, width, dtype=dtype), meta(4, dtype=torch.int64)
        V, v, w, c = (
            meta(*size, dtype=dtype) for size in ((hidden, width), (hidden,), (branches, hidden), (branches,))
        )
        U, u = (V, v) if gated else (None, None)
        means, scores, sums = form.forward(rows, offsets, V, v, U, u, w, c)
        form.backward(means, means, scores, sums, rows, offsets, V, v, U, u, w, c)


HALF, SINGLE = torch.bfloat16, torch.float32
CASES: dict[str, Callable[[], None]] = {
    "attention": lambda: attention(HALF, 512, 64, 24),
    "attention-48": lambda: attention(HALF, 4096, 64, 48),
    "attention-72": lambda: attention(HALF, 13824, 64, 72),
    "attention-sink": lambda: attention(HALF, 512, 64, 136, sink=True),
    "attention-528": lambda: attention(HALF, 4096, 64, 528),
    "attention-80": lambda: attention(HALF, 1000, 80, 30),
    "attention-128": lambda: attention(torch.float16, 777, 128, 0),
    "attention-256": lambda: attention(HALF, 1000, 256, 136, sink=True),
    "attention-float32-few": lambda: attention(SINGLE, 512, 64, 24),
    "attention-float32": lambda: attention(SINGLE, 512, 64, 136, sink=True),
    "attention-float32-528": lambda: attention(SINGLE, 4096, 64, 528),
    "attention-float32-128": lambda: attention(SINGLE, 1000, 128, 136),
    "dice-14": lambda: dice(HALF, 14, 128),
    "dice-105": lambda: dice(HALF, 105, 128),
    "dice-105-last": lambda: dice(HALF, 105, 128, last=True),
    "dice-ignore-focal": lambda: dice(SINGLE, 14, 64, ignore=255, gamma=2.0, squared=True),
    "dice-regions": lambda: dice(HALF, 4, 64, sigmoid=True),
    "norm": lambda: norm(HALF, 32, 64, residual=True),
    "norm-last": lambda: norm(HALF, 320, 32, last=True, residual=True),
    "norm-small": lambda: norm(HALF, 512, 8),
    "windows": lambda: windows(HALF),
    "fusions": lambda: fusions(SINGLE),
    "patches": lambda: patches(HALF),
    "distillations": lambda: distillations(HALF),
    "distillations-float32": lambda: distillations(SINGLE),
    "poolings": lambda: poolings(HALF),
    "poolings-float32": lambda: poolings(SINGLE),
}


def main() -> None:
    os.environ.setdefault("TRITON_CACHE_DIR", tempfile.mkdtemp())
    driver.set_active(NoDevice())
    JITFunction.__getitem__ = compiling
    asked = sys.argv[1:] or ["*"]
    for case in (name for name in CASES if any(fnmatch(name, pattern) for pattern in asked)):
        COMPILED.clear()
        CASES[case]()
        for name, options, made in COMPILED.values():
            print(json.dumps({"case": case, **report(name, options, made)}), flush=True)


if __name__ == "__main__":
    main()

"""What card this is, with which versions, and how fast it copies and multiplies."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch
from measure import rates  # type: ignore[import-not-found]  # beside the benchmarks of the kernels


def main() -> None:
    """Print a line for each."""
    print(f"python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    print(", ".join(f"{name} {_installed(name)}" for name in ("triton", "numpy", "pytest", "hypothesis", "monai")))
    if shutil.which("nvidia-smi"):
        subprocess.run(["nvidia-smi"], check=False)
    cuda = torch.cuda.is_available()
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        print(
            f"{number}: {card.name}, capability {card.major}.{card.minor}, {card.multi_processor_count} processors, "
            f"{card.total_memory / 2**30:.0f} GiB"
        )
    name = torch.cuda.get_device_name() if cuda else f"no GPU: {platform.machine()} CPU"
    found = rates("cuda" if cuda else "cpu", torch.bfloat16 if cuda else torch.float32, quick=not cuda)
    print(f"{name}: copies {found['copy'] / 1e9:.0f} GB/s, multiplies {found['work'] / 1e12:.3g} TFLOP/s")


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "is not here"


if __name__ == "__main__":
    main()

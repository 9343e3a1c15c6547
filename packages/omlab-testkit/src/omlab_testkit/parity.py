"""A package's `tests/parity.py`: how it answers golden cases.

    def build(case: dict) -> torch.nn.Module        # this case's hyper-parameters, untrained, eval mode
    def run(module, case: dict, inputs: dict[str, Tensor]) -> dict[str, Tensor]   # the outputs named

Both must hold for any case of that form, not for the files at hand.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omlab_testkit import golden
from omlab_testkit.outcome import PromiseError

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The two functions of a `parity.py`."""

    path: Path
    build: Callable[[dict[str, Any]], nn.Module]
    run: Callable[[nn.Module, dict[str, Any], dict[str, Tensor]], Mapping[str, Tensor]]


def load_file(path: Path) -> ModuleType:
    """Import the Python file `path` of a package's tests, under a name of its own."""
    name = f"omlab_testkit_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def load_parity(tests: Path) -> Parity:
    """The `parity.py` in the folder `tests`. Raises `PromiseError` where it or one of its functions is absent."""
    path = tests / "parity.py"
    if not path.is_file():
        raise PromiseError(f"There are golden cases but no {path}: write its functions build and run.")
    module = load_file(path)
    for name in ("build", "run"):
        if not callable(getattr(module, name, None)):
            raise PromiseError(f"{path} has no function '{name}'.")
    return Parity(path=path, build=module.build, run=module.run)


def find_cases(folders: Iterable[Path]) -> list[Path]:
    """The network cases in `folders` (JSON files with `state` and `outputs`), in order of their names."""
    files = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    return [path for path in files if golden.read_case(path) is not None]


def check_case(parity: Parity, path: Path) -> dict[str, float]:
    """Answer one case: keys and shapes agree, drawn weights are loaded, every output is compared.

    Returns the worst error of each output (see `golden.compare`). Raises `PromiseError`.
    """
    import torch

    case = golden.read_case(path)
    if case is None:
        raise PromiseError(f"{path} is not a network case: it has no 'state' and 'outputs'.")
    module = parity.build(dict(case))
    if module.training:
        raise PromiseError(f"build() of {parity.path} gave a module in training mode for {path.name}: call eval().")
    golden.check_keys(case, module)
    golden.load_drawn(case, module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        outputs = parity.run(module, dict(case), golden.draw_inputs(case))
    return golden.compare(case, outputs)

"""A package's `tests/parity.py`: how it answers golden files.

    def build(case: dict) -> torch.nn.Module        # this case's hyper-parameters, untrained, eval mode
    def run(module, case: dict, inputs: dict[str, Tensor]) -> dict[str, Tensor]   # the outputs named
    def check(case: dict) -> dict[str, float]       # of a file without a network: by part, the largest difference from
                                                    # its numbers, relative to their spread; KeyError: an unknown part

The first two answer network cases (with `state` and `outputs`), the third other files. All must hold for any file of
that form, not for those at hand.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import math
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


CLOSE = 1e-4
"""How far a part may be from a file that does not say its own tolerance (`rtol`)."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The two functions of a `parity.py` that answer network cases."""

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


def find_cases(folders: Iterable[Path], *, tests: Path | None = None) -> list[Path]:
    """The golden files in `folders` that are to be answered, in order of their names.

    They are the network cases (JSON objects with `state` and `outputs`), and where `parity.py` in `tests` has a
    `check`, the other JSON objects.
    """
    files = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    others = tests is not None and _has_check(tests / "parity.py")
    return [path for path in files if golden.read_case(path) is not None or (others and golden.read_file(path))]


def _has_check(path: Path) -> bool:
    """Whether a `parity.py` has a `check`, told without running it: it imports the network's package."""
    if not path.is_file():
        return False
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
    return "check" in names


def check_file(tests: Path, path: Path) -> dict[str, float]:
    """Answer a file without a network by `check` of the `parity.py` in `tests`, which gives how far each part is.

    How far a part may be is what `tolerance(part, case)` of that file gives, where there is such a function, else the
    case's `rtol`, or 1e-4. Raises `PromiseError` that lists the parts that are further.
    """
    module = load_file(tests / "parity.py")
    case = json.loads(path.read_text(encoding="utf-8"))
    try:
        found: dict[str, float] = module.check(case)
    except KeyError as error:
        raise PromiseError(
            f"check() of {tests / 'parity.py'} does not know the part {error} of {path.name}."
        ) from error
    if not found:
        raise PromiseError(f"check() of {tests / 'parity.py'} answers no part of {path.name}.")
    allowed = getattr(module, "tolerance", lambda part, case: case.get("rtol", CLOSE))
    wrong = [f"{part}: off by {far:.2e}" for part, far in found.items() if not far <= allowed(part, case)]
    if wrong or any(math.isnan(far) for far in found.values()):
        raise PromiseError(f"The numbers of {path.name} are not met: {'; '.join(wrong)}.")
    return found


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

"""Golden cases: reference numbers of a network, its drawn weights and inputs, and the comparison.

A case is one JSON file. It holds no weights: weights and inputs are drawn from the Philox counter
generator, keyed by a salt and a name, so that everybody has the same tensors without a download.

    state      rows [key, shape, dtype, role] of the checkpoint; role `fixed` is computed by the network
    salt       salt of the weights
    inputs     {name: {"shape", "salt", "dist", "low", "high"}}; dist: normal, uniform or integer
    outputs    {name: {"shape", "mean", "std", "absmax", "index", "value"}}: 64 entries and the moments
    rtol       tolerance, in standard deviations of the output (a scalar: in its size)

Further keys (`model`, `build`, `notes`, ...) are for the package that answers the case. A JSON object without `state`
and `outputs` is not a network case: `check` of the package's `tests/parity.py` answers it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omlab_testkit.outcome import PromiseError

if TYPE_CHECKING:
    from torch import Tensor, nn

Case = Mapping[str, Any]
RECORDED = 64
"""How many entries of an output a case records at most."""


def read_case(path: Path) -> Case | None:
    """The network case in `path`; None where the file is something else (a list of plain cases, say)."""
    case = read_file(path)
    return case if case is not None and {"state", "outputs"} <= case.keys() else None


def read_file(path: Path) -> Case | None:
    """The JSON object in a golden file; None where it holds a list or a number. Raises `PromiseError`."""
    try:
        case = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PromiseError(f"The golden case {path} cannot be read: {error}.") from error
    return case if isinstance(case, dict) else None


def uniform(count: int, *, salt: str, name: str) -> NDArray[np.float64]:
    """`count` values in [0, 1): the top 53 bits of the raw Philox stream keyed by sha256("salt/name")."""
    key = hashlib.sha256(f"{salt}/{name}".encode()).digest()[:16]
    generator = np.random.Philox(key=np.frombuffer(key, dtype="<u8").astype(np.uint64))
    bits = generator.random_raw(count)
    return np.asarray(bits >> np.uint64(11), dtype=np.float64) * 2.0**-53


def standard(shape: Sequence[int], *, salt: str, name: str) -> NDArray[np.float32]:
    """Values of mean 0 and variance 1, evenly spread over ±√3, of `shape`."""
    spread = (uniform(math.prod(shape), salt=salt, name=name) * 2.0 - 1.0) * math.sqrt(3.0)
    return spread.astype(np.float32).reshape(tuple(shape))


def draw_entry(key: str, *, shape: Sequence[int], role: str, salt: str) -> Tensor:
    """The drawn tensor of one checkpoint entry (float32). A weight is scaled by the root of its fan-in."""
    import torch

    values: NDArray[Any] = standard(shape, salt=salt, name=key)
    match role:
        case "weight":
            values = values / math.sqrt(max(1, math.prod(shape[1:])))
        case "scale":
            values = 1.0 + 0.1 * values
        case "var":
            values = 1.0 + 0.1 * np.abs(values)
        case "bias" | "mean" | "embed":
            values = 0.1 * values
        case _:
            raise PromiseError(f"The golden case gives '{key}' the role '{role}', which is not drawn.")
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def draw_state(case: Case) -> dict[str, Tensor]:
    """Every entry of the checkpoint but the `fixed` ones, which the network computes itself."""
    return {
        key: draw_entry(key, shape=shape, role=role, salt=case["salt"])
        for key, shape, _, role in case["state"]
        if role != "fixed"
    }


def draw_inputs(case: Case) -> dict[str, Tensor]:
    """The inputs of the case, by name: float32, or int64 for `integer` (`high` is not reached)."""
    return {name: _draw_input(name, spec) for name, spec in case.get("inputs", {}).items()}


def _draw_input(name: str, spec: Mapping[str, Any]) -> Tensor:
    import torch

    shape, kind = tuple(spec["shape"]), spec.get("dist", "normal")
    if kind == "normal":
        return torch.from_numpy(standard(shape, salt=spec["salt"], name=name))
    low, width = spec["low"], spec["high"] - spec["low"]
    values = uniform(math.prod(shape), salt=spec["salt"], name=name) * width
    if kind == "integer":
        return torch.from_numpy((low + np.floor(values)).astype(np.int64).reshape(shape))
    if kind == "uniform":
        return torch.from_numpy((low + values).astype(np.float32).reshape(shape))
    raise PromiseError(f"The golden case gives the input '{name}' the distribution '{kind}', which is not known.")


def check_keys(case: Case, module: nn.Module) -> None:
    """Compare the module's state dict with the recorded keys and shapes; they must agree exactly.

    Raises `PromiseError` that names the first keys that are missing, too many, or of another shape.
    """
    want = {key: list(shape) for key, shape, _, _ in case["state"]}
    have = {key: list(tensor.shape) for key, tensor in module.state_dict().items()}
    problems = []
    if missing := sorted(want.keys() - have.keys()):
        problems.append(f"the network lacks {_some(missing)}")
    if extra := sorted(have.keys() - want.keys()):
        problems.append(f"the network has {_some(extra)}, which the checkpoint has not")
    other = [key for key in want if key in have and want[key] != have[key]]
    if other:
        problems.append(f"of another shape are {_some([f'{k} {have[k]} (checkpoint: {want[k]})' for k in other])}")
    if problems:
        raise PromiseError(f"Keys and shapes of case '{case.get('model', '?')}' do not agree: {'; '.join(problems)}.")


def load_drawn(case: Case, module: nn.Module) -> None:
    """Put the drawn weights into `module`, whose keys `check_keys` has compared."""
    module.load_state_dict(draw_state(case), strict=False)


@contextmanager
def recorded(parts: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """What parts of a network give while this is open, by the names that they have here.

    Of several calls the last one's, of several things that a part gives the first.
    """
    outputs: dict[str, Tensor] = {}

    def keeping(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, list | tuple) else output
            outputs[name] = first.clone()

        return keep

    handles = [part.register_forward_hook(keeping(name)) for name, part in parts.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def describe(name: str, tensor: Tensor) -> dict[str, Any]:
    """What a case records of an output: shape, moments and up to 64 entries at drawn places."""
    flat = _flat(tensor)
    places = np.floor(uniform(min(RECORDED, flat.size), salt="golden-index", name=name) * flat.size)
    index = np.unique(places.astype(np.int64))
    return {
        "shape": list(tensor.shape),
        "mean": float(flat.mean()),
        "std": float(flat.std()),
        "absmax": float(np.abs(flat).max()),
        "index": index.tolist(),
        "value": flat[index].tolist(),
    }


def compare(case: Case, outputs: Mapping[str, Tensor]) -> dict[str, float]:
    """The worst error of every recorded output, in standard deviations of it (a scalar: in its size).

    Looks at the recorded entries, the mean and the spread. Raises `PromiseError` that lists all outputs that
    are absent, of another shape, not finite, or off by more than `rtol`.
    """
    worst: dict[str, float] = {}
    problems = []
    for name, want in case["outputs"].items():
        if name not in outputs:
            problems.append(f"{name}: not among the outputs")
            continue
        shape, flat = list(outputs[name].shape), _flat(outputs[name])
        if shape != want["shape"]:
            problems.append(f"{name}: shape {shape}, wanted {want['shape']}")
        elif not np.isfinite(flat).all():
            problems.append(f"{name}: not finite")
        else:
            worst[name] = _error(flat, want)
            if worst[name] > case["rtol"]:
                problems.append(f"{name}: off by {worst[name]:.2e} of its spread, {case['rtol']:.0e} allowed")
    if problems:
        raise PromiseError(f"Outputs of case '{case.get('model', '?')}' do not agree: {'; '.join(problems)}.")
    return worst


def _error(flat: NDArray[np.float64], want: Mapping[str, Any]) -> float:
    off: float = max(
        float(np.abs(flat[want["index"]] - np.asarray(want["value"])).max()),
        abs(float(flat.mean()) - want["mean"]),
        abs(float(flat.std()) - want["std"]),
    )
    spread: float = want["std"] if flat.size > 1 else want["absmax"]
    return off / max(spread, 1e-12)


def _flat(tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().double().cpu().flatten().numpy(), dtype=np.float64)


def _some(names: Sequence[str], *, most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

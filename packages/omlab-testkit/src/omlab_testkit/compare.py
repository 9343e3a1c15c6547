"""Whether two payloads are the same, whatever their classes: by their fields, arrays and numbers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.payloads import Lazy, keeps


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far apart two values may be.

    relative   of the largest magnitude in the wanted array
    labels     share of the entries of an integer array that may differ (ties)
    """

    relative: float = 0.0
    labels: float = 0.0


EXACT = Tolerance()
ROUNDING = Tolerance(relative=1e-4, labels=1e-3)
"""What another order of summation may change."""


def difference(
    got: Any,
    wanted: Any,
    *,
    tolerance: Tolerance = EXACT,
    ignore: frozenset[str] = frozenset(),
    where: str = "it",
) -> str:
    """Say in a few words where `got` differs from `wanted`; empty where they agree.

    Fields named in `ignore` are passed over. NaN equals NaN. Payloads that are read in parts are compared whole.
    """
    if keeps(got, Lazy) and keeps(wanted, Lazy):
        got, wanted = got.loaded(), wanted.loaded()
    if is_array(got) and is_array(wanted):
        return _array_difference(as_array(got), as_array(wanted), tolerance=tolerance, where=where)
    if _are_numbers(got) and _are_numbers(wanted):
        return _array_difference(np.asarray(got), np.asarray(wanted), tolerance=tolerance, where=where)
    if isinstance(wanted, float) and isinstance(got, int | float):
        close = math.isclose(got, wanted, rel_tol=tolerance.relative) or (math.isnan(got) and math.isnan(wanted))
        return "" if close else f"{where} is {got}, not {wanted}"
    if isinstance(wanted, str | bytes | int | bool | None):
        return "" if got == wanted else f"{where} is {got!r}, not {wanted!r}"
    if type(got) is not type(wanted):
        return f"{where} is a {type(got).__name__}, not a {type(wanted).__name__}"
    ours, theirs = parts(got), parts(wanted)
    if ours is None or theirs is None:
        return "" if got == wanted else f"{where} is {got!r}, not {wanted!r}"
    if ours.keys() != theirs.keys():
        return f"{where} has {sorted(ours)}, not {sorted(theirs)}"
    for name in ours:
        if name not in ignore:
            found = difference(ours[name], theirs[name], tolerance=tolerance, ignore=ignore, where=f"{name} of {where}")
            if found:
                return found
    return ""


def fingerprint(value: Any) -> str:
    """A digest of everything that `value` holds: it changes when an array or a field is changed."""
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def is_array(value: Any) -> bool:
    """Whether `value` is a NumPy array or a torch tensor."""
    return isinstance(value, np.ndarray | np.generic) or _is_tensor(value)


def as_array(value: Any) -> NDArray[Any]:
    """A NumPy array or torch tensor as a NumPy array."""
    if _is_tensor(value):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return np.asarray(value.numpy())
    return np.asarray(value)


def parts(value: Any) -> dict[str, Any] | None:
    """The named parts of a dataclass, mapping, sequence or plain object; None for what has none."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return {str(index): item for index, item in enumerate(value)}
    return dict(vars(value)) if type(value).__module__ != "builtins" and hasattr(value, "__dict__") else None


def all_finite(value: Any) -> bool:
    """Whether no array or number inside `value` is NaN or infinite."""
    if is_array(value):
        array = as_array(value)
        return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
    if isinstance(value, float):
        return math.isfinite(value)
    inner = None if isinstance(value, str | bytes | int | None) else parts(value)
    return inner is None or all(all_finite(item) for item in inner.values())


def _are_numbers(value: Any) -> bool:
    """Whether it is a list of numbers, which share a scale: not all of them whole."""
    return (
        isinstance(value, list | tuple)
        and all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
        and any(isinstance(item, float) for item in value)
    )


def _is_tensor(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def _array_difference(got: NDArray[Any], wanted: NDArray[Any], *, tolerance: Tolerance, where: str) -> str:
    if got.shape != wanted.shape:
        return f"{where} has the shape {got.shape}, not {wanted.shape}"
    if not got.size:
        return ""
    if got.dtype.kind in "biuSUO" and wanted.dtype.kind in "biuSUO":
        share = float((got != wanted).mean())
        return "" if share <= tolerance.labels else f"{where} differs in {share:.2%} of its entries"
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return f"{where} is NaN in other places"
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    allowed = tolerance.relative * float(np.abs(b).max())
    off = float(np.abs(a - b).max())
    return "" if off <= allowed else f"{where} is off by up to {off:.3g} ({allowed:.3g} allowed)"


def _feed(digest: Any, value: Any) -> None:
    if keeps(value, Lazy):
        value = value.loaded()
    if is_array(value):
        array = as_array(value)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
        return
    inner = None if isinstance(value, str | bytes | int | float | None) else parts(value)
    if inner is None:
        digest.update(repr(value).encode())
        return
    digest.update(type(value).__qualname__.encode())
    for name, item in inner.items():
        digest.update(f"{name}=".encode())
        _feed(digest, item)

"""The tensors of a network that was pickled whole, in place of its state dict; nothing that the file names is built.

`torch.save(network)` writes the classes of the network's modules by name, which only the code that they come from can
build, and building runs it. Here each name stands for a bag that keeps what the file says of an object, so that the
parameters and buffers can be read out of it by the names that a state dict has for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omlab.errors import WeightsError
from omlab.weights.checkpoint import (
    check_zip,
    needs_torch,
    refuse_not_finite,
    shortened,
    sniff,
    without_what_torch_puts_on,
)

if TYPE_CHECKING:
    from torch import Tensor


class _Bag:
    """Stands for any object that the file names; keeps its attributes."""

    held: dict[str, Any]

    def __new__(cls, *_: object) -> _Bag:
        bag = super().__new__(cls)
        bag.held = {}
        return bag

    def __setstate__(self, state: object) -> None:
        if isinstance(state, Mapping):
            self.held = dict(state)


def read_module_state(path: Path) -> dict[str, Tensor]:
    """The state dict of a network that `torch.save` wrote whole, on the CPU and without what wrappers put before keys.

    No class or function that the file names is imported or called. Buffers that the network does not save are left out.

    Raises:
        WeightsError: The file cannot be read, is damaged or refused, holds something else, or values that are not
            finite.
    """
    path = Path(path)
    if sniff(path) != "zip":
        raise WeightsError(f"{path} is no file of torch 1.6 or later that could hold a whole network.")
    check_zip(path)
    found: dict[str, Tensor] = {}
    network = _unpickled(path)
    if not isinstance(network, _Bag) or "_modules" not in network.held:
        raise WeightsError(f"{path} does not hold a whole network: read it as a state dict.")
    _collect(network, "", found)
    if not found:
        raise WeightsError(f"{path} holds a network without parameters.")
    tensors = without_what_torch_puts_on(found)
    refuse_not_finite(tensors, path)
    return tensors


def _unpickled(path: Path) -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise needs_torch(error) from error
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        bags: list[Any] = [(_Bag, name) for name in names]
        with torch.serialization.safe_globals(bags):
            return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - of bags alone
    except Exception as error:  # the unpickler meets arbitrary bytes: any exception means that the file is bad
        raise WeightsError(f"{path} is refused, damaged or not a torch checkpoint ({shortened(error)}).") from error


def _collect(module: _Bag, prefix: str, found: dict[str, Tensor]) -> None:
    """Parameters and saved buffers of a module and those below it, by the names of a state dict."""
    import torch

    unsaved = module.held.get("_non_persistent_buffers_set") or ()
    for group in ("_parameters", "_buffers"):
        for name, value in dict(module.held.get(group) or {}).items():
            if isinstance(value, torch.Tensor) and name not in unsaved:
                found[f"{prefix}{name}"] = value.detach()
    for name, child in dict(module.held.get("_modules") or {}).items():
        if isinstance(child, _Bag):
            _collect(child, f"{prefix}{name}.", found)

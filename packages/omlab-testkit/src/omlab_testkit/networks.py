"""The networks of models under test: their weights, changed, digested and compared."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from omlab_testkit.compare import fingerprint
from omlab_testkit.outcome import PromiseError

if TYPE_CHECKING:
    from torch import Tensor, nn


def network(model: Any, *, name: str) -> nn.Module:
    """The `torch.nn.Module` of a model. Raises `PromiseError` where it shows none."""
    module = getattr(model, "module", None)
    if module is None or not hasattr(module, "state_dict"):
        raise PromiseError(f"'{name}' does not show its network: give the model an attribute 'module'.")
    found: nn.Module = module
    return found


def weights_digest(module: nn.Module) -> str:
    """A digest of all parameters and buffers."""
    return fingerprint(dict(module.state_dict()))


def other_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with every floating-point entry a little different, the same each time; variances stay positive."""
    import torch

    generator = torch.Generator().manual_seed(20240501)
    changed = {}
    for key, tensor in state.items():
        value = tensor.detach().cpu().clone()
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator, dtype=torch.float32).to(value.dtype)
            value = value * (1 + 0.05 * noise) + 0.01 * noise
        changed[key] = value
    return changed


def as_sent(value: Any, *, what: str) -> Any:
    """`value` as it arrives in another process. Raises `PromiseError` where it cannot be sent."""
    stream = io.BytesIO()
    try:
        _Sender(stream).dump(value)
        return ForkingPickler.loads(stream.getvalue())
    except PromiseError as error:
        raise PromiseError(f"{what} {error}") from None
    except Exception as error:  # pickle raises whatever the object that it cannot take raises
        message = f"{what} cannot be sent to another process: {type(error).__name__}: {error}"
        raise PromiseError(message) from error


class _Sender(ForkingPickler):
    """Sends as worker processes are sent to, but for networks."""

    def reducer_override(self, value: Any) -> Any:
        torch = sys.modules.get("torch")  # without it nothing can be a network
        if torch is not None and isinstance(value, torch.nn.Module):
            raise PromiseError(f"holds a network, a {type(value).__name__}: workers are sent data alone.")
        return NotImplemented

"""An exponential moving average of the weights that are trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from omlab_train.sharding import part_like


class Average:
    """The moving average of a module's parameters that require a gradient, in float32 or better.

    After n steps the decay is the smaller of `decay` and (1 + n) / (10 + n), so that a short training does not end in
    the mean of where it began (the rule of TensorFlow's ExponentialMovingAverage). Buffers are those of the last step.

    Args:
        module: Whose parameters; their values now are the first average.
        decay: Share of the old average that a step keeps, such as 0.999.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self._parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._means = {
            name: p.detach().to(torch.promote_types(p.dtype, torch.float32), copy=True)
            for name, p in self._parameters.items()
        }

    def update(self, *, steps: int) -> None:
        """Take in the weights after `steps` steps."""
        kept = min(self.decay, (1 + steps) / (10 + steps))
        with torch.no_grad():
            for name, mean in self._means.items():
                mean.lerp_(self._parameters[name].to(mean.dtype), 1 - kept)

    def state_dict(self) -> dict[str, Tensor]:
        """The average by name of the parameter."""
        return dict(self._means)

    def load_state_dict(self, means: Mapping[str, Tensor]) -> None:
        """Go on from an average. Raises `KeyError` for a parameter without one."""
        for name, mean in self._means.items():
            mean.copy_(part_like(means[name], mean))

    def put_in(self) -> None:
        """Give the parameters their averages, for good."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._means[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module with averaged weights; afterwards with its own."""
        own = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self.put_in()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    parameter.copy_(own[name])

"""What can be trained: `Recipe`, the contract with the training loop, and `Loop`, one that brings a loop of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from torch import Tensor, nn

from omlab.errors import SettingsError

Optimizer = Literal["adamw", "adam", "sgd"]
Precision = Literal["auto", "float32", "bfloat16"]
Group = dict[str, Any]
"""A group of parameters: `params`, a list, with their `lr` and `weight_decay`."""


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How a loss is minimised: the parts of the loop that a recipe names.

    Attributes:
        optimizer: "adamw", "adam" or "sgd"; learning rate and weight decay are those of the recipe's groups. Adam and
            SGD add the decay to the gradient, AdamW takes it off the weights.
        betas: Of Adam and AdamW.
        eps: Of Adam and AdamW.
        amsgrad: Whether they keep the largest second moment so far (Reddi et al. 2018).
        momentum: Of SGD.
        nesterov: Whether that momentum is Nesterov's.
        max_grad_norm: The gradient of a step is shortened to this norm; None leaves it as it is.
        clips_each: Whether that is the norm of each parameter by itself, as in DINO, instead of all together.
        decay_rise: What weight decays are multiplied by at the end; the factor goes there from 1 by half a cosine.
        accumulate: Batches in a step of one process, whose mean gradient is taken.
        ema: Decay of an exponential moving average of the weights, which is what training gives; None: none.
        precision: Of the module's forward pass. "auto" is bfloat16 on CUDA (float16 with scaled gradients where the
            GPU has none) and float32 elsewhere.
        find_unused_parameters: Whether a parameter that learns may be without a gradient in some step (a head of weight
            0): several processes must look for such, which takes time.
        shards: Names of blocks of the module by which several processes part it: each holds a part of all weights,
            gradients and the optimizer's state, and the blocks are made whole one after the other while they are
            computed. Blocks of like size that hold nearly all weights, in their order. Empty: each holds all.
        best: A figure of `Recipe.validate`: training gives the weights of the epoch in which it was lowest, where there
            is validation. None: those of the last epoch.
        patience: Epochs without a lower `best` after which training ends; 0: it goes through all of its steps.
        patience_after: Epochs that it takes at least before it ends so.
        limits: Figures of `Recipe.validate` and what they may be at most. An epoch that ends beyond one of them is the
            last one; training gives the weights of the best epoch within all of them, without `best` of the last one.

    Raises:
        SettingsError: A value cannot be.
    """

    optimizer: Optimizer = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    amsgrad: bool = False
    momentum: float = 0.0
    nesterov: bool = False
    max_grad_norm: float | None = None
    clips_each: bool = False
    decay_rise: float = 1.0
    accumulate: int = 1
    ema: float | None = None
    precision: Precision = "auto"
    find_unused_parameters: bool = False
    shards: Sequence[str] = ()
    best: str | None = None
    patience: int = 0
    patience_after: int = 0
    limits: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("optimizer", self.optimizer, get_args(Optimizer)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in known:
                raise SettingsError(f"{name} is '{value}', but must be one of {', '.join(known)}.")
        for name, number, right, words in (
            ("accumulate", self.accumulate, self.accumulate >= 1, "at least 1"),
            ("ema", self.ema, self.ema is None or 0 < self.ema < 1, "between 0 and 1, or left out"),
            ("max_grad_norm", self.max_grad_norm, self.max_grad_norm is None or self.max_grad_norm > 0, "above 0"),
            ("decay_rise", self.decay_rise, self.decay_rise >= 0, "at least 0"),
            ("momentum", self.momentum, 0 <= self.momentum < 1, "at least 0 and below 1"),
            (
                "patience",
                self.patience,
                self.patience == 0 or (self.patience > 0 and self.best is not None),
                "0 without best",
            ),
            ("patience_after", self.patience_after, self.patience_after >= 0, "at least 0"),
            ("nesterov", self.nesterov, not self.nesterov or self.momentum > 0, "off where there is no momentum"),
        ):
            if not right:
                raise SettingsError(f"{name} is {number}, but must be {words}.")


class Recipe(Protocol):
    """What is minimised, on which batches, with which rates; `omlab_train.fit` does it.

    ```python
    from pathlib import Path
    import torch
    from omlab_train import Optimisation, fit, schedules

    class Sums:
        def __init__(self, seed):
            self.seed = seed

        def __call__(self, step):
            x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1000 * self.seed + step))
            return {"x": x, "y": x.sum(1, keepdim=True)}

    class Regression:
        steps, epoch = 40, 10
        fingerprint = "sums of four numbers"
        how = Optimisation(optimizer="sgd", momentum=0.9, nesterov=True)

        def __init__(self, module, seed):
            self.module, self.batches = module, Sums(seed)

        def groups(self):
            return [{"params": list(self.module.parameters()), "lr": 0.02, "weight_decay": 0.0}]

        def schedule(self, step):
            return schedules.poly(step, steps=self.steps)

        def loss(self, batch):
            error = (self.module(batch["x"]) - batch["y"]).square().mean()
            return error, {"rmse": error.item() ** 0.5}

        def validate(self):
            return None

    history = fit(Regression(torch.nn.Linear(4, 1), seed=0), folder=Path("work"), device="cpu", seed=0)
    ```

    Attributes:
        module: What is trained, in place. While it is trained the loop may wrap it and sets this attribute.
        batches: From the number of a batch to the batch, a (nested) dict, list or tuple of tensors on the CPU. A
            function of the seed that it was made with and of that number alone. Picklable, for it is sent to worker
            processes; so it holds no module, and of large arrays only where they lie (`omlab_train.cache`).
        steps: Steps of the optimizer in all.
        epoch: Steps between two rows of history, checkpoints and validations; the last may be shorter.
        fingerprint: Digest of the settings and data behind `batches` and `loss`: a checkpoint of others is not resumed.
        how: The parts of the loop.
    """

    module: nn.Module

    @property
    def batches(self) -> Callable[[int], Any]:
        """Gives batch 0, 1, ...; a step takes `accumulate` of them for each process."""
        ...

    @property
    def steps(self) -> int:
        """Steps in all."""
        ...

    @property
    def epoch(self) -> int:
        """Steps of an epoch."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of settings and data."""
        ...

    @property
    def how(self) -> Optimisation:
        """Optimizer, precision and the like."""
        ...

    def groups(self) -> Sequence[Group]:
        """Groups of parameters; the loop leaves out those that require no gradient, and groups that are then empty."""
        ...

    def schedule(self, step: int) -> float:
        """The factor on every group's learning rate in a step, from 0."""
        ...

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        """The scalar loss of a batch on the module's device, and figures to show beside it, the same ones each time.

        Of `module` nothing is used but that it can be called.
        """
        ...

    def validate(self) -> Mapping[str, float] | None:
        """Figures after an epoch, or None.

        Asked of one process alone, with `module` in evaluation mode, without gradients, with averaged weights if any.
        Where the processes part the module (`Optimisation.shards`) all are asked, for none holds the whole: they must
        call `module` equally often, and what the first one gives is taken. In the first alone the whole module that the
        recipe was made with, on the CPU, has the weights that are validated.
        """
        ...


@runtime_checkable
class Loop(Protocol):
    """A recipe whose card says `loop = "own"`: it trains itself (PPO, trl).

    ```python
    import torch

    class Steepest:
        def __init__(self, module):
            self.module = module

        def run(self, *, device, folder, seed):
            x = torch.randn(16, 4, generator=torch.Generator().manual_seed(seed)).to(device)
            loss = (self.module.to(device)(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            with torch.no_grad():
                for parameter in self.module.parameters():
                    parameter -= 0.1 * parameter.grad
            return [{"epoch": 1, "loss": loss.item()}]
    ```
    """

    def run(self, *, device: str, folder: Path, seed: int) -> list[dict[str, float]]:
        """Train in place and give the history; goes on from what an interrupted run left in `folder`."""
        ...

"""The training loop: `fit` trains a `Recipe`, writes a checkpoint every epoch, and resumes exactly."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from omlab import progress
from omlab.errors import OmlabWarning, TrainingError
from omlab.files import writing
from omlab_train import schedules
from omlab_train.average import Average
from omlab_train.batches import batches_ahead, mapped, workers_for
from omlab_train.best import Best, best_epoch, is_over, said_at_the_limit
from omlab_train.checkpoint import (
    Checkpoint,
    CheckpointWarning,
    read_checkpoint,
    remove_leftovers,
    say_going_on,
    write_checkpoint,
)
from omlab_train.gradients import clip_each
from omlab_train.memory import keep_freed_memory
from omlab_train.processes import accelerator_for, said_by_the_first
from omlab_train.recipe import Recipe
from omlab_train.scalars import Write, scalars
from omlab_train.settings import mixed_seed, settings_digest
from omlab_train.sharding import Sharded, gathered

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]

_LEFTOVERS = {"forward", "_is_accelerate_prepared"}  # what accelerate leaves on a module that it has unwrapped


def fit(
    recipe: Recipe,
    *,
    folder: Path,
    device: str,
    seed: int,
    workers: int | None = 0,
    tensorboard: Path | None = None,
) -> list[dict[str, float]]:
    """Train `recipe.module` in place; afterwards it is in evaluation mode on `device`, with averaged weights if asked.

    After every epoch a checkpoint replaces the last one in `folder`. Where `folder` holds one of the same recipe
    (settings, data, seed and initial weights), training goes on from it; on the CPU the result is then the same, bit
    for bit, as that of a training that was not interrupted. One of another recipe is not used, and a warning says so.

    A part of the module that has parameters of which none is trained stays in evaluation mode: frozen norms keep their
    statistics. Under `torchrun` or `accelerate launch` every process takes batches of its own in each step, the
    gradients are averaged, and the launcher chooses the device within the kind that `device` names; N processes train
    as one that accumulates N times as many batches does. The first alone validates and writes. Where the recipe parts
    the module among them (`Optimisation.shards`), no device ever holds all of it: all processes validate, and the
    module stays on the CPU, trained in the first alone.

    Args:
        recipe: What to train.
        folder: Where the checkpoint lives; made if it is not there.
        device: "cpu", "cuda" or "cuda:N".
        seed: Of the randomness inside the module (dropout); drawn anew each epoch.
        workers: Processes that make batches, for each one that trains; 0: a thread. None: as many as the device and
            the cores suggest. Batches are the same in any case. They are spawned: a script must train under
            `if __name__ == "__main__":`.
        tensorboard: Folder for TensorBoard's scalars; left out: what OMLAB_TENSORBOARD says, else none.

    Returns:
        A row for each epoch: "epoch" (from 1), "loss" (mean over its steps), "learning_rate" (the largest, at its last
        step), "seconds" (without validation), the mean of each figure of the recipe, and its figures of validation with
        "val_" before their names.

    Raises:
        TrainingError: Nothing is to be trained, the loss or the gradient is not finite (names the step), the device is
            not there, or a worker process ended or failed.
        OutputError: The checkpoint cannot be written.
    """
    if recipe.steps < 1 or recipe.epoch < 1:
        raise TrainingError(f"There is nothing to train: {recipe.steps} steps in epochs of {recipe.epoch}.")
    if workers is None:
        workers = workers_for(device)
    if workers < 0:
        raise TrainingError(f"workers is {workers}, but must be at least 0.")
    with accelerator_for(device, recipe.how) as accelerator, _random_state_kept(accelerator.device):
        training = _Training(recipe, accelerator=accelerator, folder=folder, seed=seed)
        return training.run(workers=workers, tensorboard=tensorboard)


class _Training:
    """One call of `fit`."""

    def __init__(self, recipe: Recipe, *, accelerator: Accelerator, folder: Path, seed: int) -> None:
        self.recipe = recipe
        self.accelerator = accelerator
        self.folder = folder
        self.seed = seed
        self.module = recipe.module.to("cpu" if recipe.how.shards else accelerator.device)
        self.own_attributes = set(vars(self.module))
        self.optimizer = _optimizer(recipe)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.decays = [group["weight_decay"] for group in self.optimizer.param_groups]
        self.sharded: Sharded | None = None
        self.average: Average | None = None
        self.best = Best(self.module, frozen=_frozen(self.module))
        own = settings_digest(
            recipe, module=self.module, optimizer=self.optimizer, seed=seed, processes=accelerator.num_processes
        )
        self.settings: str = said_by_the_first(own, accelerator)

    def run(self, *, workers: int, tensorboard: Path | None) -> list[dict[str, float]]:
        done = self._read()
        if done is not None:
            self._load(done)
        learner = self._prepare()
        if self.recipe.how.ema is not None:
            self.average = Average(learner, decay=self.recipe.how.ema)
            if done is not None:
                self.average.load_state_dict(done.average)
        if self.accelerator.device.type == "cpu":
            keep_freed_memory()
        try:
            history = self._epochs([] if done is None else list(done.history), workers, tensorboard)
        finally:
            self._unwrap()
        said = said_at_the_limit(history, self.recipe.how)
        if said is not None and self.accelerator.is_main_process:
            warnings.warn(said, OmlabWarning, stacklevel=3)
        if self.average is not None:
            self.average.put_in()
        if self.sharded is not None:
            self.sharded.gather()
        if self.best.state:
            self.best.put_in()
        return history

    def _prepare(self) -> nn.Module:
        """Put around the module what accelerate trains with; gives what holds the parameters that learn."""
        if not self.recipe.how.shards:
            self.recipe.module, self.prepared = self.accelerator.prepare(self.module, self.optimizer)
            return self.module
        self.sharded = Sharded(self.module, blocks=self.recipe.how.shards, accelerator=self.accelerator)
        self.sharded.take_over(self.optimizer)
        # "Evaluation" is accelerate's word for precision alone, without DDP around the module.
        for module in (self.module, self.sharded.module):
            self.recipe.module = self.accelerator.prepare_model(module, device_placement=False, evaluation_mode=True)
        self.prepared = self.accelerator.prepare_optimizer(self.optimizer, device_placement=False)
        return self.sharded.module

    def _epochs(
        self, history: list[dict[str, float]], workers: int, tensorboard: Path | None
    ) -> list[dict[str, float]]:
        recipe, first = self.recipe, self.accelerator.is_main_process
        done = min(len(history) * recipe.epoch, recipe.steps)
        if first and not is_over(history, recipe.how):
            say_going_on(len(history), of=math.ceil(recipe.steps / recipe.epoch))
        batches = batches_ahead(
            recipe.batches, self._numbers(done), workers=workers, pinned=self.accelerator.device.type == "cuda"
        )
        with (
            progress.bar("training", total=recipe.steps) if first else nullcontext(progress.nothing) as advance,
            scalars(tensorboard, name=self.settings[:12], done=done) if first else nullcontext() as write,
            batches as made,
        ):
            if done:
                advance(done)
            for begin in range(done, recipe.steps, recipe.epoch):
                if is_over(history, recipe.how):
                    break
                steps = range(begin, min(begin + recipe.epoch, recipe.steps))
                row = {"epoch": len(history) + 1, **self._epoch(steps, made, advance=advance, write=write)}
                row |= self._validation(steps[-1] + 1, write=write)
                history.append(row)
                self._keep_best(history)
                self._save(history)
        return history

    def _keep_best(self, history: list[dict[str, float]]) -> None:
        """Keep the weights, averaged if any, where the last epoch is the one to be given so far."""
        if best_epoch(history, self.recipe.how) == len(history) - 1:
            with self._given():
                if self.sharded is None or self.accelerator.is_main_process:
                    self.best.take()

    @contextmanager
    def _given(self) -> Iterator[None]:
        """The module with the weights that training would give now, averaged if any; of sharded ones the first's."""
        with nullcontext() if self.average is None else self.average.in_place():
            if self.sharded is not None:
                self.sharded.gather()
            yield

    def _numbers(self, done: int) -> range:
        """Numbers of the batches that this process takes after `done` steps; the processes take them in turn."""
        processes = self.accelerator.num_processes
        each = self.recipe.how.accumulate * processes
        return range(done * each + self.accelerator.process_index, self.recipe.steps * each, processes)

    def _epoch(
        self, steps: range, batches: Iterator[Any], *, advance: progress.Advance, write: Write | None
    ) -> dict[str, float]:
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        began = time.monotonic()
        torch.manual_seed(mixed_seed(self.seed, steps[0] // self.recipe.epoch, rank))
        _learning(self.recipe.module)
        sums: dict[str, float] = {}
        for step in steps:
            figures = self._step(step, batches)
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value
            advance(1, **figures)
            if write is not None:
                write(step + 1, {**figures, "learning_rate": self._rate()})
        names = sorted(sums)
        means = torch.tensor([sums[name] / len(steps) for name in names], dtype=torch.float64)
        if processes > 1:
            means = self.accelerator.reduce(means.float().to(self.accelerator.device), reduction="mean").cpu()
        figures = dict(zip(names, means.tolist(), strict=True))
        return {
            "loss": figures.pop("loss"),
            "learning_rate": self._rate(),
            "seconds": round(time.monotonic() - began, 3),
            **figures,
        }

    def _step(self, step: int, batches: Iterator[Any]) -> dict[str, float]:
        how = self.recipe.how
        factor = self.recipe.schedule(step)
        rise = how.decay_rise + (1 - how.decay_rise) * schedules.cosine(step, steps=self.recipe.steps)
        for group, rate, decay in zip(self.optimizer.param_groups, self.rates, self.decays, strict=True):
            group["lr"], group["weight_decay"] = rate * factor, decay * rise
        self.recipe.module.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for number, batch in enumerate(islice(batches, how.accumulate), start=1):
            with nullcontext() if number == how.accumulate else self.accelerator.no_sync(self.recipe.module):
                for name, value in self._gradient(step, batch).items():
                    sums[name] = sums.get(name, 0.0) + value
        learning = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        limit = math.inf if how.max_grad_norm is None else how.max_grad_norm
        norm = self.accelerator.clip_grad_norm_(learning, math.inf if how.clips_each else limit)
        norm = gathered({"norm": norm}, kept=True)["norm"]
        if how.clips_each:
            clip_each(learning, norm=limit)
        if self.accelerator.scaler is None:  # the scaler itself leaves out a step that overflowed
            self._require_finite("gradient", float(norm), step)
        self.prepared.step()
        if self.average is not None:
            self.average.update(steps=step + 1)
        return {name: value / how.accumulate for name, value in sums.items()}

    def _gradient(self, step: int, batch: Any) -> dict[str, float]:
        device = self.accelerator.device
        loss, figures = self.recipe.loss(mapped(batch, lambda tensor: tensor.to(device, non_blocking=True)))
        value = float(loss.detach())
        self._require_finite("loss", value, step)
        self.accelerator.backward(loss / self.recipe.how.accumulate)
        return {**{name: float(figure) for name, figure in figures.items()}, "loss": value}

    def _require_finite(self, what: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"The {what} is {value} at step {step + 1} of {self.recipe.steps}: lower the learning rate, or look "
                "for values that are not finite in the training data."
            )

    def _rate(self) -> float:
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def _validation(self, step: int, *, write: Write | None) -> dict[str, float]:
        """The figures of `recipe.validate` in the first process, for all of them."""
        found: Mapping[str, float] | None = None
        with self._given():
            if self.sharded is not None:
                found = self._validated(self.recipe.module)
            elif self.accelerator.is_main_process:
                found = self._validated(self.module)
        figures = {f"val_{name}": float(value) for name, value in (found or {}).items()}
        if write is not None:
            write(step, figures)
        told: dict[str, float] = said_by_the_first(figures, self.accelerator)
        return told

    def _validated(self, module: nn.Module) -> Mapping[str, float] | None:
        wrapped, self.recipe.module = self.recipe.module, module
        module.eval()
        try:
            with torch.no_grad():
                return self.recipe.validate()
        finally:
            self.recipe.module = wrapped

    def _unwrap(self) -> None:
        """Take off what was put around the module: mixed precision, the averaging of gradients; or leave its twin."""
        wrapped = self.recipe.module if self.sharded is None else self.module
        self.recipe.module = self.accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
        for name in _LEFTOVERS - self.own_attributes:
            vars(self.recipe.module).pop(name, None)
        self.recipe.module.eval()

    def _read(self) -> Checkpoint | None:
        """The checkpoint of this training, the same in all processes; only the first touches the folder."""
        first = self.accelerator.is_main_process
        if first:
            with writing("The training folder", self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                remove_leftovers(self.folder)
            done = read_checkpoint(self.folder, settings=self.settings)
        epochs = said_by_the_first(done.epochs_done if first and done else 0, self.accelerator)
        if not first and epochs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CheckpointWarning)
                done = read_checkpoint(self.folder, settings=self.settings)
            if done is None or done.epochs_done != epochs:
                raise TrainingError(
                    f"Process {self.accelerator.process_index} does not find the checkpoint of the first one in "
                    f"{self.folder}: all processes must see the same folder."
                )
        return done if epochs else None

    def _load(self, checkpoint: Checkpoint) -> None:
        left_out = self.module.load_state_dict(dict(checkpoint.module), strict=False).missing_keys
        assert set(left_out) <= _frozen(self.module), "the digest of settings knows the names of all parameters"
        self.best.state = dict(checkpoint.best)
        state = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**state, "state": checkpoint.optimizer})
        if self.accelerator.scaler is not None and checkpoint.scaler:
            self.accelerator.scaler.load_state_dict(dict(checkpoint.scaler))

    def _save(self, history: list[dict[str, float]]) -> None:
        first = self.accelerator.is_main_process
        if self.sharded is not None:
            self.sharded.gather()
        state = self.optimizer.state_dict()["state"]
        optimizer = {index: gathered(values, kept=first) for index, values in state.items()}
        average = {} if self.average is None else gathered(self.average.state_dict(), kept=first)
        if first:
            scaler = self.accelerator.scaler
            frozen = _frozen(self.module)
            checkpoint = Checkpoint(
                settings=self.settings,
                epochs_done=len(history),
                module={name: value for name, value in self.module.state_dict().items() if name not in frozen},
                optimizer=optimizer,
                average=average,
                best=self.best.state,
                history=history,
                scaler={} if scaler is None else scaler.state_dict(),
            )
            write_checkpoint(checkpoint, self.folder)
        self.accelerator.wait_for_everyone()


def _optimizer(recipe: Recipe) -> torch.optim.Optimizer:
    groups = []
    for group in recipe.groups():
        learning = [parameter for parameter in group["params"] if parameter.requires_grad]
        if learning:
            groups.append({"params": learning, "lr": group["lr"], "weight_decay": group["weight_decay"]})
    if not groups:
        raise TrainingError("There is nothing to train: no parameter in the recipe's groups requires a gradient.")
    how = recipe.how
    if how.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=how.momentum, nesterov=how.nesterov)
    adam = torch.optim.Adam if how.optimizer == "adam" else torch.optim.AdamW
    return adam(groups, lr=0.0, betas=how.betas, eps=how.eps, amsgrad=how.amsgrad)


def _learning(module: nn.Module) -> None:
    """Training mode, but for parts that have parameters of which none requires a gradient."""
    module.train()
    for part in module.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()


def _frozen(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if not parameter.requires_grad}


def _random_state_kept(device: torch.device) -> AbstractContextManager[None]:
    return torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else [])

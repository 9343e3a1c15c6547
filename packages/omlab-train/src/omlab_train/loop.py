"""The training loop: `fit` trains a `TrainingTask`, writes a checkpoint every epoch, and resumes exactly."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from omlab import progress
from omlab.errors import OutputError, TrainingError
from omlab_train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from omlab_train.memory import keep_freed_memory
from omlab_train.task import Fingerprinted, TrainingTask

if TYPE_CHECKING:  # accelerate takes seconds to import: only a training pays for it
    from accelerate import Accelerator  # type: ignore[import-untyped]

BATCHES_AHEAD = 2
"""How many batches are made in the background while a step is computed."""

_LEFTOVERS = {"forward", "_is_accelerate_prepared"}  # what accelerate leaves on a module that it has unwrapped


def fit(task: TrainingTask, *, folder: Path, device: str, seed: int) -> list[dict[str, float]]:
    """Train `task.module` in place; afterwards it is in evaluation mode on `device`.

    After every epoch a checkpoint replaces the last one in `folder`. Where `folder` holds one of the same task
    (same settings, data, seed and initial weights), training goes on from it; on the CPU the result is then the
    same, bit for bit, as that of a training that was not interrupted. One of another task is not used, and a
    warning says so.

    On CUDA the forward pass runs in bfloat16 (float16 with scaled gradients where the GPU has none); on the CPU
    all is float32. Under `accelerate launch` or `torchrun` every process takes a batch of its own in each step,
    the gradients are averaged, and the launcher chooses the device within the kind that `device` names.

    Args:
        task: What to train. Batches are made in one background thread.
        folder: Where the checkpoint lives; made if it is not there.
        device: "cpu", "cuda" or "cuda:N".
        seed: Of the randomness inside the module (dropout); drawn anew each epoch.

    Returns:
        A row for each epoch: "epoch" (from 1), "loss" (mean over its steps), "learning_rate" (at its last step),
        "seconds", and the mean of each figure that the task gives.

    Raises:
        TrainingError: The loss or the gradient is not finite (names the step), or the device is not there.
        OutputError: The checkpoint cannot be written.
    """
    if task.epochs < 1 or task.steps_per_epoch < 1:
        raise TrainingError(f"There is nothing to train: {task.epochs} epochs of {task.steps_per_epoch} steps.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The training folder {folder} cannot be made: {error.strerror}.") from error
    with _accelerator(device) as accelerator, _random_state_kept(accelerator.device):
        return _Training(task, accelerator=accelerator, folder=folder, seed=seed).run()


class _Training:
    """One call of `fit`."""

    def __init__(self, task: TrainingTask, *, accelerator: Accelerator, folder: Path, seed: int) -> None:
        self.task = task
        self.accelerator = accelerator
        self.folder = folder
        self.seed = seed
        self.module: nn.Module = task.module.to(accelerator.device)
        self.own_attributes = set(vars(self.module))
        self.optimizer = task.optimizer()
        self.total = task.epochs * task.steps_per_epoch
        self.settings = _settings_digest(task, self.optimizer, seed=seed, processes=accelerator.num_processes)

    def run(self) -> list[dict[str, float]]:
        done = read_checkpoint(self.folder, settings=self.settings)
        if done is not None:
            self._load(done)
        first, history = (0, []) if done is None else (done.epochs_done, list(done.history))
        self.task.module, self.prepared = self.accelerator.prepare(self.module, self.optimizer)
        total = self.total if self.accelerator.is_main_process else None
        if self.accelerator.device.type == "cpu":
            keep_freed_memory()
        try:
            self.task.module.train()
            with progress.task("training", total=total) as advance:
                if first:
                    advance(first * self.task.steps_per_epoch)
                for epoch in range(first, self.task.epochs):
                    history.append(self._epoch(epoch, advance=advance))
                    self._save(history)
        finally:
            self._unwrap()
        return history

    def _epoch(self, epoch: int, *, advance: progress.Advance) -> dict[str, float]:
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        began = time.monotonic()
        torch.manual_seed(_mix(self.seed, epoch, rank))
        steps = range(epoch * self.task.steps_per_epoch, (epoch + 1) * self.task.steps_per_epoch)
        sums: dict[str, float] = {}
        with closing(_batches(self.task, [step * processes + rank for step in steps])) as batches:
            for step, batch in zip(steps, batches, strict=True):
                figures = self._step(step, _moved(batch, self.accelerator.device))
                for name, value in figures.items():
                    sums[name] = sums.get(name, 0.0) + value
                advance(1, **figures)
        names = sorted(sums)
        means = torch.tensor([sums[name] / len(steps) for name in names], dtype=torch.float64)
        if processes > 1:
            means = self.accelerator.reduce(means.float().to(self.accelerator.device), reduction="mean").cpu()
        return {
            "epoch": epoch + 1,
            **dict(zip(names, means.tolist(), strict=True)),
            "learning_rate": self.task.learning_rate(steps[-1]),
            "seconds": round(time.monotonic() - began, 3),
        }

    def _step(self, step: int, batch: Any) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.task.learning_rate(step)
        self.prepared.zero_grad(set_to_none=True)
        loss, figures = self.task.loss(batch)
        value = float(loss.detach())
        self._require_finite("loss", value, step)
        self.accelerator.backward(loss)
        limit = math.inf if self.task.max_grad_norm is None else self.task.max_grad_norm
        norm = self.accelerator.clip_grad_norm_(self.task.module.parameters(), limit)
        if self.accelerator.scaler is None:  # the scaler itself leaves out a step that overflowed
            self._require_finite("gradient", float(norm), step)
        self.prepared.step()
        return {"loss": value, **{name: float(figure) for name, figure in figures.items()}}

    def _require_finite(self, what: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"The {what} is {value} at step {step + 1} of {self.total}: lower the learning rate, or look for "
                "values that are not finite in the training data."
            )

    def _unwrap(self) -> None:
        """Take off what accelerate put around the module: mixed precision, the averaging of gradients."""
        self.task.module = self.accelerator.unwrap_model(self.task.module, keep_fp32_wrapper=False)
        for name in _LEFTOVERS - self.own_attributes:
            vars(self.task.module).pop(name, None)
        self.task.module.eval()

    def _load(self, checkpoint: Checkpoint) -> None:
        self.module.load_state_dict(dict(checkpoint.module))
        state = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**state, "state": checkpoint.optimizer})
        if self.accelerator.scaler is not None and checkpoint.scaler:
            self.accelerator.scaler.load_state_dict(dict(checkpoint.scaler))

    def _save(self, history: list[dict[str, float]]) -> None:
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            checkpoint = Checkpoint(
                settings=self.settings,
                epochs_done=len(history),
                module=self.module.state_dict(),
                optimizer=self.optimizer.state_dict()["state"],
                history=history,
                scaler={} if scaler is None else scaler.state_dict(),
            )
            write_checkpoint(checkpoint, self.folder)
        self.accelerator.wait_for_everyone()


def _batches(task: TrainingTask, steps: list[int]) -> Generator[Any, None, None]:
    """The batches of `steps` in order, a few of them made ahead in one background thread."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="omlab-batches")
    waiting: deque[Future[Any]] = deque()
    try:
        for step in steps:
            waiting.append(pool.submit(task.batch, step))
            if len(waiting) > BATCHES_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _moved(batch: Any, device: torch.device) -> Any:
    """`batch`, a (nested) dict, list or tuple of tensors and other values, with its tensors on `device`."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: _moved(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [_moved(value, device) for value in batch]
    return batch


def _random_state_kept(device: torch.device) -> AbstractContextManager[None]:
    return torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else [])


@contextmanager
def _accelerator(device: str) -> Iterator[Accelerator]:
    """An accelerator for `device`; accelerate's process-wide state is left as it was found."""
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState, is_initialized  # type: ignore[import-untyped]

    kind = torch.device(device).type
    if kind == "cuda" and not torch.cuda.is_available():
        raise TrainingError(f"There is no GPU here to train on '{device}': use the device 'cpu'.")
    ours = not is_initialized()
    with torch.cuda.device(device) if kind == "cuda" and ":" in device else nullcontext():
        # The head of the lowest level has weight 0 in deep supervision, hence no gradient.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        precision = _mixed_precision(kind) if ours else None
        accelerator = Accelerator(cpu=kind == "cpu", mixed_precision=precision, kwargs_handlers=[unused])
        try:
            if accelerator.device.type != kind:
                raise TrainingError(
                    f"Training was asked for on '{device}', but accelerate is set to '{accelerator.device}' "
                    "(ACCELERATE_USE_CPU, or an Accelerator made before)."
                )
            yield accelerator
        finally:
            if ours:
                # The only way to let a later training in this process choose another device or precision.
                AcceleratorState._reset_state(reset_partial_state=True)


def _mixed_precision(kind: str) -> str:
    if kind != "cuda":
        return "no"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def _settings_digest(task: TrainingTask, optimizer: torch.optim.Optimizer, *, seed: int, processes: int) -> str:
    """Digest of what decides the course of a training: settings, data (if the task says so), initial weights."""
    groups = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    settings = {
        "seed": seed,
        "processes": processes,
        "epochs": task.epochs,
        "steps_per_epoch": task.steps_per_epoch,
        "max_grad_norm": task.max_grad_norm,
        "learning_rates": [task.learning_rate(epoch * task.steps_per_epoch) for epoch in range(task.epochs)],
        "optimizer": type(optimizer).__name__,
        "groups": groups,
        "task": task.fingerprint if isinstance(task, Fingerprinted) else "",
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in task.module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _mix(*numbers: int) -> int:
    """One seed of several numbers."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:8], "little", signed=True)

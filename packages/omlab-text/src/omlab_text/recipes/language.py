"""What recipes on the next token share (`omlab_train.Recipe`): the loss, the rates, validation and red flags."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from omlab.digests import digest_of
from omlab.errors import OmlabWarning, TrainingError
from omlab.roles import Dataset
from omlab.shards import rank
from omlab_text.blocks import blocks_of
from omlab_text.kept import kept_format, kept_tokenizer
from omlab_text.recipes.rows import rows_of
from omlab_text.recipes.token_store import TokenStore
from omlab_text.red_flags import RedFlags
from omlab_text.training.supervised import IGNORED, TargetNetwork
from omlab_train import Optimisation, schedules

if TYPE_CHECKING:
    from omlab_text.local_model import LocalModel

RED_FLAGS = "red_flags"
"""The figure of validation that counts those that are missed."""
_ALL, _FEW = 2e-5, 2e-4
"""Learning rates where all weights learn, and where few do."""
_FINAL = 0.1
"""What of the learning rate is left at the end."""


class LanguageRecipe(ABC):
    """Minus the mean log-probability of the tokens that are to be learnt.

    Args:
        model: What is trained.
        data: What it learns from: chats as inputs `chat`.
        settings: The recipe's, complete.
        seed: Of the order of batches.
        is_packed: Whether rows hold several documents.
    """

    module: nn.Module
    betas = (0.9, 0.999)

    def __init__(
        self, model: LocalModel, data: Dataset, *, settings: Mapping[str, Any], seed: int, is_packed: bool = False
    ) -> None:
        self.model, self.settings, self.seed = model, dict(settings), seed
        check_precision(model.module)
        self.module = TargetNetwork(model.module, is_packed=is_packed)
        self.flags = RedFlags.read(Path(settings["red_flags"])) if settings["red_flags"] else None
        self.allowed = self._faults_allowed()
        self.longest = min(settings["longest"], model.backend.context or settings["longest"])
        written_by = [kept_tokenizer(model.backend.tokenizer), kept_format(model.backend.format)]
        self._known = digest_of([*written_by, self.longest])
        self.store = self.read(data, "train")
        has_val = "val" in data.splits() and len(data.cases("val")) > 0
        self.val = self.read(data, "val") if has_val else None
        digests = [data.digest(split) for split in data.splits()]
        self.fingerprint = digest_of([settings, seed, digests, self._known, self.flags and self.flags.digest])

    @abstractmethod
    def read(self, data: Dataset, split: str) -> TokenStore:
        """The tokens of a split."""

    @property
    @abstractmethod
    def batches(self) -> Callable[[int], dict[str, Tensor]]:
        """Batches of `rows_of`."""

    @property
    @abstractmethod
    def pass_steps(self) -> int:
        """Steps in which all data are seen once."""

    def key(self, data: Dataset, split: str) -> object:
        """What the tokens of a split depend on."""
        return [type(self).__name__, data.digest(split), self._known]

    @property
    def steps(self) -> int:
        """As many as the setting `steps` says, else as `epochs` take."""
        return int(self.settings["steps"] or self.settings["epochs"] * self.pass_steps)

    @property
    def epoch(self) -> int:
        """Steps between two checkpoints."""
        return min(int(self.settings["every"] or self.pass_steps), self.steps)

    @property
    def how(self) -> Optimisation:
        """AdamW; of the epochs that with the lowest loss of validation is kept, where there is some.

        A training that misses more red flags than the model did before, beyond the tolerance, ends.
        """
        return Optimisation(
            betas=self.betas,
            max_grad_norm=1.0,
            accumulate=self.settings["accumulate"],
            best="loss" if self.val is not None else None,
            limits={RED_FLAGS: float(self.allowed)} if self.flags is not None else {},
            shards=self._shards(),
        )

    def groups(self) -> Sequence[dict[str, Any]]:
        """Weight decay for matrices, none for norms and biases."""
        learning = [one for one in self.module.parameters() if one.requires_grad]
        rate = self.settings["learning_rate"] or (_FEW if self._has_few(learning) else _ALL)
        decay = self.settings["weight_decay"]
        return [
            {"params": [one for one in learning if one.ndim > 1], "lr": rate, "weight_decay": decay},
            {"params": [one for one in learning if one.ndim <= 1], "lr": rate, "weight_decay": 0.0},
        ]

    def schedule(self, step: int) -> float:
        """A rise, then half a cosine down to a tenth."""
        warmup = min(round(self.settings["warmup"] * self.steps), self.steps)
        return schedules.cosine(step, steps=self.steps, warmup=warmup, final=_FINAL)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The mean over the tokens that are to be learnt."""
        logp = self.module(batch["ids"], batch["documents"], batch["targets"])
        count = (batch["targets"] != IGNORED).sum()
        return -logp.sum() / count.clamp(min=1), {"tokens": float(count)}

    def validate(self) -> Mapping[str, float] | None:
        """The loss on `val`, that of each source where there are several, and how many red flags are missed.

        Where the network is parted these are answered by the first process, which has the whole of it on the CPU.
        """
        figures = {} if self.val is None else self._losses(self.val)
        if self.flags is not None and rank() == 0:
            faults = self.flags.faults(self.model.backend)
            figures[RED_FLAGS] = float(len(faults))
            for fault in faults if len(faults) > self.allowed else ():
                warnings.warn(f"A red flag is missed: {fault}", OmlabWarning, stacklevel=2)
        return figures or None

    def _losses(self, val: TokenStore) -> dict[str, float]:
        sums, counts = (torch.zeros(len(val.sources), dtype=torch.float64) for _ in range(2))
        device = next(self.module.parameters()).device
        for places in _by_length(val, size=self.settings["batch_size"]):
            batch = {name: one.to(device) for name, one in rows_of([[val[place]] for place in places]).items()}
            logp = self.module(batch["ids"], batch["documents"], batch["targets"]).sum(dim=1)
            count = (batch["targets"] != IGNORED).sum(dim=1)
            source = torch.from_numpy(val.source[places])
            sums.index_add_(0, source, -logp.double().cpu())
            counts.index_add_(0, source, count.double().cpu())
        figures = {"loss": float(sums.sum() / counts.sum())}
        if len(val.sources) > 1:
            figures |= {f"loss {name}": float(sums[n] / counts[n]) for n, name in enumerate(val.sources)}
        return figures

    def _shards(self) -> Sequence[str]:
        """The names of the network's blocks in `TargetNetwork`, where processes shall part it."""
        if self.settings["sharding"] == "none":
            return ()
        return [f"network.{name}" for name in blocks_of(self.model.module)]

    def _faults_allowed(self) -> int:
        """How many red flags may be missed: as many as before the training, and the tolerance."""
        if self.flags is None:
            return 0
        self.model.module.eval()
        missed = len(self.flags.faults(self.model.backend))
        if missed:
            said = f"Of {len(self.flags.flags)} red flags {missed} are missed before the training."
            warnings.warn(said, OmlabWarning, stacklevel=4)
        return missed + int(self.settings["red_flag_tolerance"])

    def _has_few(self, learning: Sequence[nn.Parameter]) -> bool:
        counted = sum(one.numel() for one in learning)
        return 10 * counted < sum(one.numel() for one in self.module.parameters())


def check_precision(network: nn.Module) -> None:
    """Raise `TrainingError` where weights that learn have too few bits for small steps."""
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and torch.finfo(parameter.dtype).bits < 32:
            raise TrainingError(
                f"The weights ({name}) are {str(parameter.dtype).removeprefix('torch.')}, in which small steps are "
                "lost: train with -s model.dtype=float32, or with --adapter lora."
            )


def _by_length(store: TokenStore, *, size: int) -> Iterator[list[int]]:
    order = store.lengths.argsort(kind="stable")
    for begin in range(0, len(order), size):
        yield [int(place) for place in order[begin : begin + size]]

"""The recipes: regression of a number from sequences, and masked residues (homology tuning).

Upstream's supervised script reads the first 20 rows of every table and takes sequences of one length alone; here all
rows count, and sequences of any length lie one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from omlab.digests import digest_of
from omlab.errors import TrainingError
from omlab.roles import Dataset, Sample
from omlab_payloads.scores import Scores
from omlab_protein import sequence
from omlab_protein.alphabet import INDEX, MASK, RESIDUES, encode
from omlab_protein.network import Layout
from omlab_protein.ranks import spearman
from omlab_train import Optimisation, schedules
from omlab_train.order import Order

if TYPE_CHECKING:
    from omlab_prime.model import PrimeModel, TemperatureModel

_RESIDUES = torch.tensor([INDEX[letter] for letter in RESIDUES])
Row = tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceBatches:
    """Batches of sequences and their numbers; a function of the seed and the batch's number. Picklable."""

    rows: Sequence[Row]
    values: Tensor
    size: int
    seed: int
    standard: Tensor

    def __call__(self, number: int) -> dict[str, Tensor]:
        """Batch `number`: `tokens` (T,), `lengths` (B,), `values` (B,), standardised, and `standard`."""
        order = Order(count=len(self.rows), seed=self.seed)
        drawn = [order(number * self.size + place)[0] for place in range(self.size)]
        values = (self.values[drawn] - self.standard[0]) / self.standard[1]
        return {**_packed([self.rows[index] for index in drawn]), "values": values, "standard": self.standard}


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskedBatches:
    """Batches of sequences with residues to be told: of these 80 % are masked, 10 % drawn anew, 10 % left (BERT)."""

    rows: Sequence[Row]
    size: int
    seed: int
    masked: float

    def __call__(self, number: int) -> dict[str, Tensor]:
        """Batch `number`: `tokens` (T,), `lengths` (B,), `asked` (rows,), the places to tell, and `truth` (rows,)."""
        order = Order(count=len(self.rows), seed=self.seed)
        drawn = [order(number * self.size + place) for place in range(self.size)]
        batch = _packed([self.rows[index] for index, _ in drawn])
        tokens = batch["tokens"]
        generator = torch.Generator().manual_seed(drawn[0][1])
        residues = torch.isin(tokens, _RESIDUES)
        chance = torch.rand(len(tokens), generator=generator).masked_fill(~residues, 2.0)
        asked = (chance < self.masked).nonzero()[:, 0]
        if not len(asked):
            asked = chance.argmin()[None]
        truth, how = tokens[asked], torch.rand(len(asked), generator=generator)
        other = _RESIDUES[torch.randint(len(_RESIDUES), (len(asked),), generator=generator)]
        changed = torch.where(how < 0.8, torch.full_like(truth, MASK), torch.where(how < 0.9, other, truth))
        return {**batch, "tokens": tokens.index_copy(0, asked, changed), "asked": asked, "truth": truth}


class _SequenceRecipe:
    """What both recipes share; fulfils `omlab_train.Recipe` with `batches` and `loss`."""

    module: nn.Module

    def __init__(self, model: Any, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        self.module, self.settings, self.seed = model.module, dict(settings), seed
        self.samples = _samples(data, "train")
        self.rows = _rows(self.samples, vocabulary=model.module.config.vocabulary, longest=model.settings["longest"])
        self.epoch = math.ceil(len(self.rows) / settings["batch_size"])
        self.steps = self.epoch * settings["epochs"]
        self.fingerprint = digest_of([settings, seed, data.digest("train"), type(self).__name__])

    @property
    def how(self) -> Optimisation:
        """AdamW, gradients of norm 1 at most."""
        return Optimisation(optimizer="adamw", max_grad_norm=1.0)

    def groups(self) -> list[dict[str, Any]]:
        """Weight decay for matrices, none for norms and biases."""
        rate, decay = self.settings["learning_rate"], self.settings["weight_decay"]
        parameters = list(self.module.parameters())
        return [
            {"params": [one for one in parameters if one.ndim > 1], "lr": rate, "weight_decay": decay},
            {"params": [one for one in parameters if one.ndim <= 1], "lr": rate, "weight_decay": 0.0},
        ]

    def schedule(self, step: int) -> float:
        """The rate stays."""
        return schedules.constant(step, steps=self.steps)

    def validate(self) -> Mapping[str, float] | None:
        """Nothing."""
        return None


class RegressionRecipe(_SequenceRecipe):
    """Squared error of the standardised number; the epoch with the best rank correlation on `val` is kept."""

    def __init__(self, model: TemperatureModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        super().__init__(model, data, settings=settings, seed=seed)
        values = torch.tensor(_values(self.samples, name=model.target.name))
        spread = float(values.std()) if len(values) > 1 else 0.0
        standard = torch.tensor([float(values.mean()), spread or 1.0])
        self.batches = SequenceBatches(
            rows=self.rows, values=values, size=settings["batch_size"], seed=seed, standard=standard
        )
        self._validation: tuple[list[Row], list[float]] | None = None
        if "val" in data.splits() and len(data.cases("val")):
            samples = _samples(data, "val")
            rows = _rows(samples, vocabulary=model.module.config.vocabulary, longest=model.settings["longest"])
            self._validation = rows, _values(samples, name=model.target.name)

    @property
    def how(self) -> Optimisation:
        """As before; ends early where there is validation and the settings say so."""
        patience = self.settings["patience"] if self._validation is not None else 0
        best = "1 - spearman" if self._validation is not None else None
        return Optimisation(optimizer="adamw", max_grad_norm=1.0, best=best, patience=patience)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The mean squared error, in standard deviations of the training numbers."""
        found = self.module(batch["tokens"], _layout(batch), standard=batch["standard"])
        loss = (found.float() - batch["values"]).square().mean()
        return loss, {"rmse": loss.item() ** 0.5}

    def validate(self) -> Mapping[str, float] | None:
        """One minus the rank correlation on `val`."""
        if self._validation is None:
            return None
        rows, values = self._validation
        device = next(self.module.parameters()).device
        found: list[float] = []
        for start in range(0, len(rows), self.settings["batch_size"]):
            batch = {
                name: one.to(device) for name, one in _packed(rows[start : start + self.settings["batch_size"]]).items()
            }
            found += self.module(batch["tokens"], _layout(batch)).float().tolist()
        rank = spearman(np.array(values), np.array(found))
        return {"1 - spearman": 1.0 if math.isnan(rank) else 1 - rank}


class MaskedResidues(_SequenceRecipe):
    """Cross-entropy of masked residues: what homology tuning minimises."""

    def __init__(self, model: PrimeModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        if not model.module.config.masks:
            raise TrainingError("This network has no mask token (the form of 2023): residues cannot be masked.")
        super().__init__(model, data, settings=settings, seed=seed)
        self.batches = MaskedBatches(rows=self.rows, size=settings["batch_size"], seed=seed, masked=settings["masked"])

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The mean over the residues that are to be told."""
        logits = self.module(batch["tokens"], _layout(batch), rows=batch["asked"]).float()
        right = (logits.argmax(dim=1) == batch["truth"]).float().mean()
        return nn.functional.cross_entropy(logits, batch["truth"]), {"right": right.item()}


def _samples(data: Dataset, split: str) -> list[Sample]:
    samples = [case.load() for case in data.cases(split)]
    if not samples:
        raise TrainingError(f"The split {split} has no case.")
    return samples


def _rows(samples: Sequence[Sample], *, vocabulary: int, longest: int) -> list[Row]:
    rows = []
    for sample in samples:
        letters = next((one.letters for one in sample.inputs.values() if isinstance(one, sequence.Sequence)), None)
        if letters is None:
            raise TrainingError(f"Case '{sample.id}' has no sequence, but {', '.join(sample.inputs) or 'nothing'}.")
        if len(letters) > longest:
            raise TrainingError(
                f"Case '{sample.id}' has {len(letters)} residues, more than the {longest} that are seen at once: "
                "set model.longest, or cut it."
            )
        rows.append(tuple(encode(letters, vocabulary=vocabulary)))
    return rows


def _values(samples: Sequence[Sample], *, name: str) -> list[float]:
    values = []
    for sample in samples:
        target = sample.target
        if not isinstance(target, Scores) or name not in target.values or not math.isfinite(target.values[name]):
            given = ", ".join(target.values) if isinstance(target, Scores) else "nothing"
            raise TrainingError(f"Case '{sample.id}' has no number '{name}', but {given}: name yours with number=NAME.")
        values.append(target.values[name])
    return values


def _packed(rows: Sequence[Row]) -> dict[str, Tensor]:
    return {
        "tokens": torch.tensor([token for row in rows for token in row]),
        "lengths": torch.tensor([len(row) for row in rows]),
    }


def _layout(batch: Mapping[str, Tensor]) -> Layout:
    return Layout.of(batch["lengths"].tolist(), device=batch["tokens"].device)

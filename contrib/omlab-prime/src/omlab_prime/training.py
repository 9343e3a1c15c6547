"""The recipes: regression of a number, masked residues (homology tuning), and pre-training with both.

Upstream's supervised script reads the first 20 rows of every table and takes sequences of one length alone; here all
rows count, and sequences of any length lie one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from omlab.digests import digest_of
from omlab.errors import TrainingError
from omlab.roles import Dataset, Sample
from omlab_payloads.scores import Scores
from omlab_prime.batches import MaskedBatches, PretrainingBatches, Row, SequenceBatches, layout_of, pack
from omlab_prime.network import Prime
from omlab_protein import sequence
from omlab_protein.alphabet import encode
from omlab_protein.network import Layout
from omlab_protein.ranks import spearman
from omlab_train import Optimisation, schedules

if TYPE_CHECKING:
    from omlab_prime.model import PretrainedModel, PrimeModel, TemperatureModel


class _SequenceRecipe:
    """What the recipes share; fulfils `omlab_train.Recipe` with `batches` and `loss`."""

    module: nn.Module

    def __init__(self, model: Any, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        self.module, self.settings, self.seed = model.module, dict(settings), seed
        self.samples, self.config = _samples(data, "train"), model.module.config
        self.rows = _rows(self.samples, vocabulary=self.config.vocabulary, longest=model.settings["longest"])
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

    def _numbered(self, *, name: str) -> SequenceBatches:
        """Batches with the number `name`, standardised by what is trained on."""
        values = torch.tensor(_values(self.samples, name=name))
        spread = float(values.std()) if len(values) > 1 else 0.0
        standard = torch.tensor([float(values.mean()), spread or 1.0])
        return SequenceBatches(
            rows=self.rows, values=values, size=self.settings["batch_size"], seed=self.seed, standard=standard
        )

    def _hidden(self) -> MaskedBatches:
        """Batches with residues to be told. Raises `TrainingError` where there is no mask token."""
        if not self.config.masks:
            raise TrainingError("This network has no mask token (the form of 2023): residues cannot be masked.")
        return MaskedBatches(
            rows=self.rows, size=self.settings["batch_size"], seed=self.seed, masked=self.settings["masked"]
        )


class RegressionRecipe(_SequenceRecipe):
    """Squared error of the standardised number; the epoch with the best rank correlation on `val` is kept."""

    def __init__(self, model: TemperatureModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        super().__init__(model, data, settings=settings, seed=seed)
        self.batches = self._numbered(name=model.target.name)
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
        found = self.module(batch["tokens"], layout_of(batch), standard=batch["standard"])
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
                name: one.to(device) for name, one in pack(rows[start : start + self.settings["batch_size"]]).items()
            }
            found += self.module(batch["tokens"], layout_of(batch)).float().tolist()
        rank = spearman(np.array(values), np.array(found))
        return {"1 - spearman": 1.0 if math.isnan(rank) else 1 - rank}


class MaskedResidues(_SequenceRecipe):
    """Cross-entropy of masked residues: what homology tuning minimises."""

    def __init__(self, model: PrimeModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        super().__init__(model, data, settings=settings, seed=seed)
        self.batches = self._hidden()

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The mean over the residues that are to be told."""
        logits = self.module(batch["tokens"], layout_of(batch), rows=batch["asked"]).float()
        return nn.functional.cross_entropy(logits, batch["truth"]), {"right": _right(logits, batch["truth"])}


class _Both(nn.Module):
    """PRIME's two outputs of one pass, in a call of its own."""

    def __init__(self, prime: Prime) -> None:
        super().__init__()
        self.prime = prime

    def forward(self, tokens: Tensor, layout: Layout, *, rows: Tensor, standard: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (rows, outputs) and standardised numbers (B,); `standard` is kept."""
        self.prime.keep(standard)
        return self.prime.both(tokens, layout, rows=rows)


class Pretraining(_SequenceRecipe):
    """PRIME's pre-training: masked residues, the temperature of the host, and that the two agree.

    Upstream describes a term that correlates the two tasks and never published it. Here it is one minus the Pearson
    correlation, over the sequences of a batch, of the predicted temperature and the mean log-probability of the
    residues that were to be told: what evolves in the heat is to be likely as far as it is stable.
    """

    def __init__(self, model: PretrainedModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        super().__init__(model, data, settings=settings, seed=seed)
        self.batches = PretrainingBatches(numbers=self._numbered(name=model.target.name), residues=self._hidden())
        self.module = _Both(model.module)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The sum of cross-entropy, squared error (in standard deviations) and the weighed correlation term."""
        layout = layout_of(batch)
        logits, values = self.module(batch["tokens"], layout, rows=batch["asked"], standard=batch["standard"])
        logits, values = logits.float(), values.float()
        surprise = nn.functional.cross_entropy(logits, batch["truth"], reduction="none")
        error = (values - batch["values"]).square().mean()
        agreement = _agreement(-surprise, values, owner=layout.owner[batch["asked"]])
        loss = surprise.mean() + error + self.settings["correlation"] * (1 - agreement)
        figures = {"residues": surprise.mean(), "rmse": error.sqrt(), "agreement": agreement}
        right = _right(logits, batch["truth"])
        return loss, {"right": right, **{name: figure.item() for name, figure in figures.items()}}


def _agreement(likely: Tensor, values: Tensor, *, owner: Tensor) -> Tensor:
    """Pearson's r of each sequence's mean of `likely` and its value; 0 where fewer than three sequences are asked."""
    counts = torch.bincount(owner, minlength=len(values))
    means = torch.zeros_like(values).index_add(0, owner, likely) / counts.clamp(min=1)
    asked = counts > 0
    if asked.sum() < 3:
        return values.new_zeros(())
    means, values = means[asked], values[asked]
    return nn.functional.cosine_similarity(means - means.mean(), values - values.mean(), dim=0)


def _right(logits: Tensor, truth: Tensor) -> float:
    return float((logits.argmax(dim=1) == truth).float().mean())


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

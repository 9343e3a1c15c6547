"""Adapter `linear-probe`: logistic regression of classes, or ridge regression of numbers, on embeddings.

The penalty, the temperature and the level of prediction sets are chosen by training cases that were not learned from:
folds of the split `train` by patient, or the split `val`. The split `test` is never read.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from omlab.card_schema import AdapterCard
from omlab.errors import OmlabWarning, SettingsError, TrainingError
from omlab_adapters.probes.adapter import EmbeddingAdapter, Learned
from omlab_adapters.probes.calibration import best_temperature, level_of_sets
from omlab_adapters.probes.designs import Design, Scaling, unit
from omlab_adapters.probes.heads import Answers, Head
from omlab_adapters.probes.held_out import Plan, Rows, Trial, plan_folds, plan_validation
from omlab_adapters.probes.lessons import Floats, Form, Lesson, Matrix
from omlab_adapters.probes.regressions import Heads, Sides, counted_in, losses_of, solve_heads
from omlab_adapters.probes.solver import TOLERANCE

Select = Literal["folds", "val"]

CRITERION: dict[Form, str] = {"one": "held_out_nll", "several": "held_out_nll", "scores": "held_out_mse"}
"""What penalties are compared by, as the history calls it: the mean negative log-likelihood, or squared error."""

CERTAIN = 1e6
"""A logit that stands for an infinite one in a file: its probability is 0 or 1 all the same."""


def load(card: AdapterCard, *, settings: Mapping[str, Any]) -> LinearProbe:
    """The entry of the card. Raises `SettingsError` for a strength that is no positive number."""
    strengths = settings["strength"]
    if not strengths or any(isinstance(c, bool) or not isinstance(c, int | float) or not c > 0 for c in strengths):
        raise SettingsError(f"The setting 'strength' is {strengths}, but must be one or several numbers above 0.")
    return LinearProbe(
        strengths=sorted(float(strength) for strength in strengths),
        scaling=settings["scaling"],
        select=settings["select"],
        folds=settings["folds"],
        with_temperature=settings["calibrate"],
        coverage=settings["coverage"] or None,
    )


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the trials say: the place of the best strength, the temperature, and what each strength lost in the mean."""

    best: int
    temperature: float
    losses: Sequence[float]


class LinearProbe(EmbeddingAdapter):
    """A linear head on any model that embeds (`omlab.roles.Adapter`).

    Args:
        strengths: C of the regression: the inverse of how strongly weights are held to 0. Of several the one with the
            best mean log-likelihood (classes) or squared error (numbers) on held-out cases is taken; of equals the
            smallest.
        scaling: What is done to embeddings before; see `Design.of`.
        select: By what cases strength and temperature are chosen: `folds` of the training split, or the split `val`.
        folds: How many.
        with_temperature: Divide logits by the temperature that suits held-out cases best.
        coverage: In what share of cases a prediction set should hold all that is right; None: no sets.
    """

    forms = frozenset(("one", "several", "scores"))

    def __init__(
        self,
        *,
        strengths: Sequence[float],
        scaling: Scaling = "standard",
        select: Select = "folds",
        folds: int = 5,
        with_temperature: bool = False,
        coverage: float | None = None,
    ) -> None:
        self.strengths, self.scaling, self.folds = list(strengths), scaling, folds
        self.with_temperature, self.coverage = with_temperature, coverage
        self.select = select
        self.needs_val = select == "val" and (len(self.strengths) > 1 or with_temperature or coverage is not None)

    def learn(self, lesson: Lesson, *, seed: int) -> Learned:
        """The head, with its settings chosen."""
        if lesson.form == "scores" and (self.with_temperature or self.coverage is not None):
            raise TrainingError("The targets are numbers: temperature scaling and prediction sets are of classes.")
        plan = self._plan(lesson, seed=seed)
        chosen = self._choose(lesson, plan)
        (design,), (targets,) = self._designs(lesson, [plan.final])
        (heads,) = solve_heads(lesson.form, [design], [targets], strengths=[self.strengths[chosen.best]])
        _check_solved(heads)
        names = _kept_names(lesson, targets)
        tensors = _tensors(design, heads, temperature=chosen.temperature, kept=names)
        answers = Answers(
            form=lesson.form, names=tuple(lesson.names[k] for k in names), units=lesson.units, coverage=self.coverage,
            level=self._level(lesson, plan, tensors, kept=names),
        )  # fmt: skip
        _warn_of_sides(lesson, targets)
        return Learned(answers=answers, tensors=tensors, history=self._history(lesson, chosen, plan, tensors, names))

    def head(self, tensors: Mapping[str, Tensor], *, form: Form) -> Head:
        """Softmax, logistic function or nothing of `weight @ (x - mean) + bias`."""
        mean, weight, bias = (tensors[name].to(torch.float64) for name in ("mean", "weight", "bias"))
        is_unit = bool(tensors["unit"])

        def give(vectors: Matrix) -> Floats:
            x = torch.tensor(np.asarray(vectors), dtype=torch.float64)  # a copy: stored features are read only
            raw = ((unit(x) if is_unit else x) - mean) @ weight.T + bias
            found = {"one": lambda: raw.softmax(dim=-1), "several": raw.sigmoid}.get(form, lambda: raw)()
            return cast(Floats, found.numpy())

        return give

    def _plan(self, lesson: Lesson, *, seed: int) -> Plan:
        is_calibrated = self.coverage is not None
        if self.needs_val:
            return plan_validation(lesson.train, lesson.groups, seed=seed, is_calibrated=is_calibrated)
        classes = lesson.targets if lesson.form != "scores" else np.zeros((len(lesson.targets), 0))
        return plan_folds(classes, lesson.groups, folds=self.folds, seed=seed, is_calibrated=is_calibrated)

    def _designs(self, lesson: Lesson, parts: Sequence[Rows]) -> tuple[list[Design], list[Floats]]:
        vectors = torch.from_numpy(lesson.vectors)
        designs = [Design.of(vectors[torch.from_numpy(rows)], scaling=self.scaling) for rows in parts]
        return designs, [lesson.targets[rows] for rows in parts]

    def _choose(self, lesson: Lesson, plan: Plan) -> Chosen:
        """Compare strengths, and find the temperature, on what trials keep from learning."""
        if len(self.strengths) == 1 and not self.with_temperature:
            return Chosen(best=0, temperature=1.0, losses=())
        trials = [trial for trial in plan.trials if _says_something(lesson, trial)]
        if not trials:
            middle = (len(self.strengths) - 1) // 2
            warnings.warn(
                "There are too few training cases of each class to choose settings by cases that are kept from "
                f"learning: the strength is {self.strengths[middle]:g}, and probabilities are as they come.",
                OmlabWarning,
                stacklevel=2,
            )
            return Chosen(best=middle, temperature=1.0, losses=())
        designs, targets = self._designs(lesson, [trial.learned for trial in trials])
        found = solve_heads(lesson.form, designs, targets, strengths=self.strengths)
        raws, sides, wanted = [], [], []
        total = torch.zeros(len(self.strengths) + 1, dtype=torch.float64)
        for trial, design, heads, learned in zip(trials, designs, found, targets, strict=True):
            judged = torch.from_numpy(lesson.vectors[trial.judged])
            raws.append(heads.raw(design.project(judged)))
            sides.append(Sides.of(learned))
            wanted.append(lesson.targets[trial.judged])
            total += losses_of(lesson.form, raws[-1], wanted[-1], sides[-1])
        losses = (total[:-1] / total[-1]).tolist()
        best = min(range(len(losses)), key=lambda s: (losses[s], s))
        temperature = 1.0
        if self.with_temperature:
            temperature = _temperature(lesson.form, [raw[best] for raw in raws], wanted, sides)
        return Chosen(best=best, temperature=temperature, losses=losses)

    def _level(self, lesson: Lesson, plan: Plan, tensors: Mapping[str, Tensor], *, kept: Sequence[int]) -> float | None:
        """From which probability on a class is in the set, by cases that nothing was learned from or chosen by."""
        if self.coverage is None or plan.calibration is None:
            return None
        rows = plan.calibration
        probabilities = self.head(tensors, form=lesson.form)(lesson.vectors[rows])
        targets = lesson.targets[rows][:, kept]
        if lesson.form == "one":  # of a class that was not learned a set can never be right
            unknown = (targets.sum(axis=1, keepdims=True) == 0).astype(np.float64)
            targets, probabilities = np.hstack([targets, unknown]), np.hstack([probabilities, 0 * unknown])
        level = level_of_sets(probabilities, targets, coverage=self.coverage)
        if level is None:
            warnings.warn(
                f"{len(rows)} cases that were kept from learning are too few for prediction sets with the coverage "
                f"{self.coverage:g}: sets hold all classes.",
                OmlabWarning,
                stacklevel=2,
            )
            return 0.0
        return level

    def _history(
        self, lesson: Lesson, chosen: Chosen, plan: Plan, tensors: Mapping[str, Tensor], names: Sequence[int]
    ) -> list[dict[str, Any]]:
        """What each strength came to, and last what was taken."""
        criterion = CRITERION[lesson.form]
        rows: list[dict[str, Any]] = [
            {"strength": strength, criterion: loss}
            for strength, loss in zip(self.strengths, chosen.losses, strict=False)
        ]
        last: dict[str, Any] = {"epoch": 1, "strength": self.strengths[chosen.best]}
        if self.with_temperature:
            last["temperature"] = chosen.temperature
        if lesson.form == "one":
            said = self.head(tensors, form="one")(lesson.vectors[plan.final]).argmax(axis=1)
            last["train_accuracy"] = float((said == lesson.targets[plan.final][:, names].argmax(axis=1)).mean())
        return [*rows, last]


def _says_something(lesson: Lesson, trial: Trial) -> bool:
    """Whether what a trial learns can be judged by a case that it keeps."""
    sides = Sides.of(lesson.targets[trial.learned])
    is_learnable = lesson.form != "one" or sides.positive.sum() > 1
    return is_learnable and bool(counted_in(lesson.form, lesson.targets[trial.judged], sides).any())


def _temperature(form: Form, raws: Sequence[Tensor], targets: Sequence[Floats], sides: Sequence[Sides]) -> float:
    """The temperature for logits (N, K) of trials, of all statements that count.

    What is right is smoothed by the number of cases as Platt (1999) does it: a few cases that are all told rightly must
    not make probabilities of 0 and 1 of everything.
    """
    smoothing = 1 / (sum(len(wanted) for wanted in targets) + 2)

    def slope(inverse: float) -> float:
        at = torch.tensor(inverse, dtype=torch.float64, requires_grad=True)
        parts = [
            losses_of(form, _scaled(raw, at)[None], wanted, side, smoothing=smoothing)[0]
            for raw, wanted, side in zip(raws, targets, sides, strict=True)
        ]
        (found,) = torch.autograd.grad(torch.stack(parts).sum(), at)
        return float(found)

    return best_temperature(slope)


def _scaled(raw: Tensor, factor: Tensor) -> Tensor:
    """Logits times a factor; those that are infinite stay, and have no part in its gradient."""
    is_finite = torch.isfinite(raw)
    return torch.where(is_finite, torch.where(is_finite, raw, 0.0) * factor, raw)


def _kept_names(lesson: Lesson, targets: Floats) -> list[int]:
    """The answers that are given: where one class is right, of the classes that were there to learn."""
    names = range(len(lesson.names))
    return [k for k in names if targets[:, k].any()] if lesson.form == "one" else list(names)


def _tensors(design: Design, heads: Heads, *, temperature: float, kept: Sequence[int]) -> dict[str, Tensor]:
    """The head in the features' own coordinates, its logits divided by the temperature."""
    weight = heads.weights[0] @ design.axes.T / design.scale / temperature
    parts = {"mean": design.mean, "weight": weight[list(kept)], "bias": heads.biases[0][list(kept)] / temperature}
    parts["bias"] = parts["bias"].clamp(-CERTAIN, CERTAIN)
    found = {name: part.to(torch.float32).contiguous() for name, part in parts.items()}
    return found | {"unit": torch.tensor(design.is_unit)}


def _check_solved(heads: Heads) -> None:
    if heads.gradient > 100 * TOLERANCE:
        warnings.warn(
            f"The regression did not reach its optimum (the gradient is {heads.gradient:.1e}): try a smaller strength.",
            OmlabWarning,
            stacklevel=2,
        )


def _warn_of_sides(lesson: Lesson, targets: Floats) -> None:
    """Say which classes nothing could be learned of."""
    sides = Sides.of(targets)
    for flags, why in (
        (~sides.positive, "no training case is of it, so that its probability is always 0"),
        (sides.positive & ~sides.negative, "every training case is of it, so that its probability is always 1"),
    ):
        names = [name for name, flag in zip(lesson.names, flags, strict=True) if flag]
        if lesson.form == "several" and names:
            warnings.warn(f"Nothing is learned of {', '.join(names)}: {why}.", OmlabWarning, stacklevel=2)

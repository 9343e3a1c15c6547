"""From a network's opinion of itself to a confidence: the Dice that structures of such margins and entropies had.

A logistic map, monotone in every feature (`omlab_payloads.sureness.FEATURES`),

    confidence = sigmoid(b + sum over f of w_f x_f),    w >= 0 of margins, w <= 0 of entropies

with x the features brought to mean 0 and deviation 1, is fitted by cross-entropy to the Dice of structures in cases
that the model was not trained on (fractional responses: Papke and Wooldridge 1996), with a ridge of one structure's
weight. All structures share one map. A structure that was invented counts with Dice 0; one that was not found has no
features.

It holds for images like those it was fitted on: in others a network may well be sure and wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]

from omlab.errors import TrainingError
from omlab.payloads import Payload
from omlab_payloads.names import name_key
from omlab_payloads.sureness import FEATURES

FEWEST_GROUPS, FEWEST_STRUCTURES = 3, 6
_RIDGE = 1.0
_FOLDS = 10
_SIGNS = (1, -1, 1, -1)  # of the weights of FEATURES

Numbers = NDArray[np.float64]


@runtime_checkable
class LabelMap(Payload, Protocol):
    """One class per voxel or pixel: what label maps of volumes, pictures and clips have in common.

    Their classes are named by `labels` (values with names) or by `names` (names by value).
    """

    @property
    def array(self) -> NDArray[Any]:
        """Values, 0 the background; of a clip those of all its frames."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its model says of it: `structures` by name."""
        ...

    def telling(self, facts: Mapping[str, Any]) -> LabelMap:
        """The same with other `facts`."""
        ...

    def same_grid(self, other: Any) -> bool:
        """Whether `other` has the same voxels or pixels."""
        ...


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A fitted map.

    Attributes:
        weights: Of `FEATURES`, as they come.
        offset: What is added to them.
        cases: On how many cases it was fitted.
        groups: Of how many patients they are; a case of nobody's counts as one.
        structures: On how many structures of them.
        error: Mean absolute difference of confidence and Dice in groups that were left out of the fit in turn.
        by_chance: That of the mean Dice of the others in its place: what a map that tells nothing apart has.
    """

    weights: tuple[float, ...]
    offset: float
    cases: int
    groups: int
    structures: int
    error: float
    by_chance: float

    def confidence(self, features: Mapping[str, float]) -> float:
        """The Dice to expect, from 0 to 1, of a structure with these features."""
        total = sum(weight * features[name] for weight, name in zip(self.weights, FEATURES, strict=True))
        return round(float(_sigmoid(np.array(self.offset + total))), 4)

    def told(self, result: LabelMap) -> LabelMap:
        """A label map whose structures have their confidence beside what it was made of."""
        structures = {
            name: {"confidence": self.confidence(facts), **facts} if set(FEATURES) <= set(facts) else dict(facts)
            for name, facts in result.facts.get("structures", {}).items()
        }
        about = {name: getattr(self, name) for name in ("cases", "groups", "structures", "error", "by_chance")}
        return result.telling({**result.facts, "structures": structures, "calibration": about})

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "weights": list(self.weights)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """The reverse."""
        return cls(**{**values, "weights": tuple(values["weights"])})


def fit(features: Numbers, dice: Numbers, *, cases: Sequence[str], groups: Sequence[str]) -> Calibration:
    """Fit the map.

    Args:
        features: (n, 4), those of `FEATURES`.
        dice: (n,).
        cases: (n,), the case that each structure is of.
        groups: (n,), whose that case is: what is of one group is left out together.

    Raises:
        TrainingError: There are too few groups or structures.
    """
    names, count = list(dict.fromkeys(groups)), len(set(cases))
    if len(names) < FEWEST_GROUPS or len(dice) < FEWEST_STRUCTURES:
        whose = f"{count} cases" + (f" of {len(names)} groups (patients)" if len(names) < count else "")
        raise TrainingError(
            f"{len(dice)} structures in {whose} are too few to calibrate by: at least {FEWEST_STRUCTURES} in "
            f"cases of {FEWEST_GROUPS} groups are needed, which the model finds and whose classes the labels know."
        )
    fold = np.array([names.index(group) % min(_FOLDS, len(names)) for group in groups])
    misses, chance = np.empty_like(dice), np.empty_like(dice)
    for number in range(fold.max() + 1):
        out = fold == number
        weights, offset = _fitted(features[~out], dice[~out])
        misses[out] = np.abs(_sigmoid(features[out] @ weights + offset) - dice[out])
        chance[out] = np.abs(dice[~out].mean() - dice[out])
    weights, offset = _fitted(features, dice)
    return Calibration(
        weights=tuple(round(float(weight), 6) for weight in weights),
        offset=round(float(offset), 6),
        cases=count,
        groups=len(names),
        structures=len(dice),
        error=round(float(misses.mean()), 4),
        by_chance=round(float(chance.mean()), 4),
    )


def compared(result: LabelMap, target: LabelMap, *, ignored: Sequence[int] = ()) -> list[tuple[list[float], float]]:
    """Features and Dice of every structure of a result that the target's classes know.

    Classes are matched by name; where the target has no names, by value.

    Args:
        result: With the `facts` of a `Sureness`.
        target: On the same grid.
        ignored: Values of the target whose voxels are not annotated.
    """
    structures = result.facts.get("structures", {})
    known = {name_key(name): value for value, name in _class_names(target).items() if value != 0}
    annotated = ~np.isin(target.array, list(ignored))
    found = []
    for value, name in _class_names(result).items():
        facts = structures.get(name)
        theirs = known.get(name_key(name)) if known else value
        if facts is None or theirs is None:
            continue
        mine, wanted = (result.array == value) & annotated, (target.array == theirs) & annotated
        total = int(mine.sum()) + int(wanted.sum())
        if total:
            found.append(([facts[feature] for feature in FEATURES], 2 * int((mine & wanted).sum()) / total))
    return found


def _class_names(label_map: Any) -> dict[int, str]:
    """Of the classes that have a name, by value; also of those that do not occur, which `present()` leaves out."""
    if hasattr(label_map, "labels"):  # of a volume, whose `names` are those of its file
        return {label.value: label.name for label in label_map.labels}
    return dict(label_map.names)


def _fitted(features: Numbers, dice: Numbers) -> tuple[Numbers, float]:
    """Weights and offset for features as they come."""
    middle, width = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    scaled = (features - middle) / width

    def loss(parameters: Numbers) -> tuple[float, Numbers]:
        logits = scaled @ parameters[:-1] + parameters[-1]
        residual = _sigmoid(logits) - dice
        value = float((np.logaddexp(0, logits) - dice * logits).sum() + _RIDGE / 2 * (parameters[:-1] ** 2).sum())
        slope = np.append(scaled.T @ residual + _RIDGE * parameters[:-1], residual.sum())
        return value, slope

    bounds = [(0, None) if sign > 0 else (None, 0) for sign in _SIGNS] + [(-10, 10)]
    done = minimize(loss, np.zeros(features.shape[1] + 1), jac=True, bounds=bounds, method="L-BFGS-B")
    weights = done.x[:-1] / width
    return weights, float(done.x[-1] - middle @ weights)


def _sigmoid(logits: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -40, 40))))

"""What a slide network was trained to tell: one of several classes, or when an event comes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

from omlab.errors import SettingsError, WeightsError
from omlab_payloads.classes import Classes
from omlab_payloads.scores import Scores
from omlab_slide.mil.losses import survival_of

CLASSES, SURVIVAL = "mil", "survival"
"""Names of the recipes."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Either the names of classes, or the ends of intervals of time.

    Attributes:
        classes: Names, in the order of the network's outputs; empty for survival.
        times: Ends of the intervals, each later than the one before; empty for classes.
    """

    classes: tuple[str, ...] = ()
    times: tuple[float, ...] = ()

    @property
    def outputs(self) -> int:
        """Of the network."""
        return len(self.classes or self.times)

    def answer(self, logits: Tensor) -> Classes | Scores:
        """What logits (C,) say: probabilities of the classes, or a risk and survival probabilities.

        The risk is the mean probability of the event until the ends of the intervals.
        """
        if self.classes:
            return Classes(names=self.classes, probabilities=logits.double().softmax(0).tolist())
        spared = survival_of(logits.double()[None])[0].tolist()
        risk = 1 - sum(spared) / len(spared)
        named = {f"survival@{time:g}": share for time, share in zip(self.times, spared, strict=True)}
        return Scores(values={"risk": risk, **named})

    def interval(self, time: float, *, event: bool) -> tuple[int, bool]:
        """The interval of a time, and whether the event was in it: what is later than the last end was without."""
        place = next((n for n, end in enumerate(self.times) if time < end), None)
        return (len(self.times) - 1, False) if place is None else (place, event)

    def to_config(self) -> dict[str, Any]:
        """As JSON."""
        return {"classes": list(self.classes), "times": list(self.times)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Task:
        """What `to_config` gave. Raises `WeightsError`."""
        try:
            return cls(classes=tuple(config["classes"]), times=tuple(map(float, config["times"])))
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"The configuration is not that of a slide model ({error}).") from error

    @classmethod
    def of_times(cls, given: Sequence[Any]) -> Task:
        """Survival with these ends of intervals. Raises `SettingsError`."""
        try:
            times = [float(time) for time in given]
        except (TypeError, ValueError):
            times = []
        rising = all(a < b for a, b in pairwise(times))
        if not times or not rising or times[0] <= 0 or not math.isfinite(times[-1]):
            raise SettingsError(
                f"times is {', '.join(map(str, given)) or 'empty'}: say the ends of the intervals in the unit of the "
                "table's times, each later than the one before, such as -s times=365,730,1095."
            )
        return cls(times=tuple(times))

"""The figures that evaluators give: what each is called, and how it becomes a metric of the report."""

from __future__ import annotations

from dataclasses import dataclass

from omlab.roles import Metric
from omlab_evaluators.bootstrap import Estimate


@dataclass(frozen=True)
class Measure:
    """One of the figures: its key in rows and metrics, and how it is shown."""

    key: str
    title: str
    unit: str = ""
    higher_is_better: bool = True
    digits: int = 3
    help: str = ""

    def metric(self, estimate: Estimate, *, label: str | None = None, unit: str | None = None) -> Metric:
        """The figure as a metric of the report; `unit` where it is that of what is measured."""
        return Metric(
            name=self.key, label=label, value=estimate.value, low=estimate.low, high=estimate.high, n=estimate.n,
            unit=self.unit if unit is None else unit, higher_is_better=self.higher_is_better,
        )  # fmt: skip

    def open(self, *, name: str = "", unit: str | None = None) -> Metric:
        """The measure as a metric whose value is left open."""
        return Metric(
            name=name or self.key,
            value=None,
            unit=self.unit if unit is None else unit,
            higher_is_better=self.higher_is_better,
        )

    def titled(self, metric: Metric) -> Metric:
        """A metric of this measure under the name that a reader knows, for a plot."""
        return Metric(
            name=self.title, label=metric.label, value=metric.value, low=metric.low, high=metric.high, n=metric.n,
            unit=metric.unit, higher_is_better=metric.higher_is_better,
        )  # fmt: skip

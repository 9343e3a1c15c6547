"""Published figures of a model, repeated: does each hold within the tolerance that its card states?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omlab import evaluate
from omlab.card_schema import Claim
from omlab.errors import UsageError
from omlab.models import find_card


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A claim and what was found; `measured` None: the metric is not defined on these data."""

    claim: Claim
    measured: float | None

    @property
    def holds(self) -> bool:
        """Whether the figure is within the claim's tolerance."""
        return self.measured is not None and abs(self.measured - self.claim.value) <= self.claim.tolerance

    def to_json(self) -> dict[str, Any]:
        """The claim with `measured` and `holds`."""
        return self.claim.model_dump(mode="json") | {"measured": self.measured, "holds": self.holds}


def check_claims(model: str, data: str, *, output: str | Path, split: str = "test", **more: Any) -> list[Checked]:
    """Evaluate a model as each claim of its weights on that data set says.

    Args:
        model: Such as `stunet-base.totalsegmentator`; without a tag, the default weights.
        data: Name of a data set, or `NAME:PATH`: claims of NAME are checked.
        output: Folder for the evaluations, one by evaluator: runs that are resumed.
        split: Split of the data set.
        more: As for `omlab.evaluate`.

    Raises:
        UsageError: The weights have no claim on that data set.
        OmlabError: It cannot be evaluated.
    """
    card = find_card(model)
    tag = model.partition(".")[2] or card.default_weights
    weights = card.weights.get(tag or "")
    claims = list(weights.claims) if weights is not None else []
    name = data.partition(":")[0]
    fitting = [claim for claim in claims if claim.data == name]
    if not fitting:
        has = f"on {', '.join(dict.fromkeys(claim.data for claim in claims))}" if claims else "on nothing"
        raise UsageError(f"'{model}' has no published figure on '{name}' in its card, but {has}.")
    reports = {
        evaluator: evaluate(model, data, evaluator=evaluator, split=split, output=Path(output) / evaluator, **more)
        for evaluator in dict.fromkeys(claim.evaluator for claim in fitting)
    }
    return [Checked(claim=claim, measured=_measured(claim, reports[claim.evaluator].report)) for claim in fitting]


def _measured(claim: Claim, report: Any) -> float | None:
    found = [m for m in report.metrics if m.name == claim.metric and m.label == claim.label]
    if not found:
        names = ", ".join(dict.fromkeys(m.name for m in report.metrics if m.label == claim.label)) or "none"
        raise UsageError(f"The claim speaks of '{claim.metric}', but '{claim.evaluator}' gives {names}.")
    value: float | None = found[0].value
    return value

"""How well a reward model ranks answers that were ranked: accuracy of pairs, calibration, and what length explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omlab_text.training.ranking import ranking_pairs

_BINS = 10
"""Of certainty, from 0.5 to 1."""


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Answers to one prompt with what both sides say of them: experts by ranks, a reward model by scores."""

    scores: Sequence[float]
    ranks: Sequence[int]
    lengths: Sequence[int]
    area: str = ""


def ranking_figures(rankings: Sequence[Ranked]) -> dict[str, float]:
    """Figures of all pairs whose answers are not tied; empty where there is none.

    accuracy: The share of the pairs whose better answer has the higher score; one of equal scores counts half.
    accuracy_AREA: Those of one area, where areas are named.
    calibration_error: Between the certainty of the scores, sigmoid of their difference, and how often they are right:
        the mean over ten bins of certainty, weighed by their pairs (Guo et al. 2017).
    length_correlation: Pearson's r of score and length within prompts; 0 where either does not vary.
    """
    margins = [_margins(one) for one in rankings]
    if not any(found.numel() for found in margins):
        return {}
    figures = {"accuracy": _right(torch.cat(margins)).mean().item()}
    for area in sorted({one.area for one in rankings} - {""}):
        here = torch.cat([found for one, found in zip(rankings, margins, strict=True) if one.area == area])
        if here.numel():
            figures[f"accuracy_{area.replace(' ', '_')}"] = _right(here).mean().item()
    figures["calibration_error"] = _calibration_error(torch.cat(margins))
    figures["length_correlation"] = _length_correlation(rankings)
    return figures


def _margins(one: Ranked) -> Tensor:
    """The score of the better answer less that of the other, for each pair."""
    scores = torch.tensor(one.scores, dtype=torch.float64)
    better, worse = ranking_pairs(torch.tensor(one.ranks)).unbind(1)
    return scores[better] - scores[worse]


def _right(margins: Tensor) -> Tensor:
    return (margins > 0).double() + 0.5 * (margins == 0)


def _calibration_error(margins: Tensor) -> float:
    certainty = margins.abs().sigmoid()
    bins = ((certainty - 0.5) * 2 * _BINS).long().clamp(max=_BINS - 1)
    apart = torch.zeros(_BINS, dtype=torch.float64).index_add(0, bins, certainty - _right(margins))
    return (apart.abs().sum() / len(margins)).item()


def _length_correlation(rankings: Sequence[Ranked]) -> float:
    scores = torch.cat([_centred(one.scores) for one in rankings])
    lengths = torch.cat([_centred(one.lengths) for one in rankings])
    size = (scores.square().sum() * lengths.square().sum()).sqrt()
    return ((scores * lengths).sum() / size).item() if size else 0.0


def _centred(values: Sequence[float]) -> Tensor:
    found = torch.tensor(values, dtype=torch.float64)
    return found - found.mean()

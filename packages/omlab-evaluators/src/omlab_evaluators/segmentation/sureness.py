"""How sure the model said it was of each structure, beside the Dice that it had.

Label maps tell it as their `facts` (`omlab_payloads.sureness`): margin and entropy of the network's own
probabilities, and, of a calibrated model, the confidence that they stand for. Only that is called so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from omlab_evaluators.bootstrap import CaseRows, Row
from omlab_report import Block, Column, Figure, Section, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from omlab_report.themes import Theme

KEYS = ("confidence", "margin", "entropy", "surface_margin", "surface_entropy", "predicted_iou")
CONFIDENCE, RAW = KEYS[0], "surface_margin"


def sureness_of(result: Any, value: int | None) -> dict[str, float]:
    """What a label map tells of the class with this value; nothing where it tells nothing."""
    told: Mapping[str, Any] = getattr(result, "facts", {}).get("structures", {})
    facts: Mapping[str, Any] = next((told.get(label.name, {}) for label in result.labels if label.value == value), {})
    return {key: float(facts[key]) for key in KEYS if key in facts}


def least_sure(case: Sequence[Row], key: str) -> float | None:
    """The lowest of a figure among the structures of a case."""
    return min((float(row[key]) for row in case if row.get(key) is not None), default=None)


def shown_key(rows: CaseRows) -> str | None:
    """What is shown of how sure the model was: its confidence, else its margin; None where it tells nothing."""
    told = {key for case in rows.values() for row in case for key in KEYS if row.get(key) is not None}
    return next((key for key in (CONFIDENCE, RAW) if key in told), None)


def sureness_sections(rows: CaseRows) -> list[Section]:
    """Confidence (or margin) against Dice, by class and structure by structure; nothing where it was not told."""
    key = shown_key(rows)
    if key is None:
        return []
    pairs = [
        (row["label"], float(row[key]), float(row["dice"]))
        for case in rows.values()
        for row in case
        if row.get(key) is not None and row["dice"] is not None
    ]
    if not pairs:
        return []
    name = "confidence" if key == CONFIDENCE else "margin"
    said, true = np.array([pair[1] for pair in pairs]), np.array([pair[2] for pair in pairs])
    blocks: list[Block] = [_table(rows, key), _plot(said, true, key)]
    return [Section(f"Dice and {name}", blocks, text=_text(said, true, key))]


def _text(said: Any, true: Any, key: str) -> str:
    alike = _rank_correlation(said, true)
    ranks = "" if alike is None else f" Their ranks correlate by {alike:.2f}."
    if key != CONFIDENCE:
        return (
            "The margin is by how much the network's best class beat the second, on the surface of what it found: its "
            "own opinion, not calibrated. Models have confidences once adapted by the adapter calibrate."
            f"{ranks} Structures that were not found have none."
        )
    away, above = float(np.abs(said - true).mean()), float((said - true).mean())
    return (
        "The confidence is the Dice to expect, as calibrated on cases that the model was not trained on. Here it is "
        f"{away:.3f} away from the Dice in the mean, and {above:+.3f} above it.{ranks} It holds for images like those "
        "of the calibration. Structures that were not found have none."
    )


def _table(rows: CaseRows, key: str) -> Table:
    word = "Confidence" if key == CONFIDENCE else "Margin on the surface"
    columns = [
        Column("Class"),
        Column("Cases", numeric=True, help="cases in which something was found"),
        Column(word, numeric=True, help="mean"),
        Column(f"Lowest {word.lower()}", numeric=True),
        Column("Dice there", numeric=True, help="of the case with the lowest"),
        Column("Entropy on the surface", numeric=True, help="mean; 0: sure, 1: all classes alike"),
    ]
    table = []
    for label in dict.fromkeys(row["label"] for case in rows.values() for row in case):
        mine = [row for case in rows.values() for row in case if row["label"] == label and row.get(key) is not None]
        if mine:
            lowest = min(mine, key=lambda row: float(row[key]))
            means = [float(np.mean([row[name] for row in mine])) for name in (key, "surface_entropy")]
            table.append([label, len(mine), means[0], float(lowest[key]), lowest["dice"], means[1]])
    return Table(columns, table)


def _plot(said: Any, true: Any, key: str) -> Figure:
    word = "confidence" if key == CONFIDENCE else "margin on the surface"
    return Figure(
        scatter(said, true, word=word, diagonal=key == CONFIDENCE),
        alt=f"Dice over {word}, a dot for each of {len(said)} structures; the figures are in cases.csv.",
        caption=f"Every dot is a structure of a case: its {word}, and its Dice. "
        + (
            "On the line both are the same."
            if key == CONFIDENCE
            else "The more the dots rise to the right, the more the margin tells of how good a structure is."
        ),
    )


def scatter(said: Any, true: Any, *, word: str, diagonal: bool) -> Callable[[Theme], Canvas]:
    """Dice over what was said, with the line on which both are the same."""

    def draw(theme: Theme) -> Canvas:
        from matplotlib.figure import Figure as Drawn

        canvas = Drawn(figsize=(min(theme.width, 4.6), 3.8), layout="constrained")
        axes = canvas.subplots()
        low = min(float(said.min()), float(true.min()))
        if diagonal:
            axes.plot([low, 1], [low, 1], color=theme.muted, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.scatter(said, true, s=18, color=theme.series[0], alpha=0.7, linewidths=0)
        axes.set_xlabel(word)
        axes.set_ylabel("Dice")
        axes.grid()
        return canvas

    return draw


def _rank_correlation(said: Any, true: Any) -> float | None:
    """Spearman's; None where one of them is always the same."""
    if len(said) < 3 or not np.ptp(said) or not np.ptp(true):
        return None
    from scipy.stats import spearmanr  # type: ignore[import-untyped]

    return float(spearmanr(said, true).statistic)

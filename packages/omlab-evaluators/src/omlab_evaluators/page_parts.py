"""What the pages of all evaluators share: what was judged, and how the model was trained."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab.errors import OmlabWarning
from omlab_report import (
    Figure,
    Page,
    ReportedRun,
    Section,
    loss_curve,
    model_words,
    run_notices,
    run_sections,
    write_page,
)

FEW_CASES = 10
KEPT = "val_kept_dice"
"""The figure of a history that says how far the classes a model kept are what they were before training."""

DOTS = "Dots are means over cases, lines their 95 % intervals; what overlaps much is not told apart by these cases."
SPREAD = "Every dot is a case; boxes reach from quartile to quartile, the bar is the median."

History = Sequence[Mapping[str, Any]]


def write_report_page(
    title: str, sections: Sequence[Section], *, run: ReportedRun | None, counts: str, folder: Path
) -> None:
    """Write `report.html`: what was judged and what to know before any figure, the sections, and where all comes from.

    `counts` says how many of what there are.
    """
    page = Page(title, [*sections, *run_sections(run)], subtitle=subtitle(run, counts), notices=run_notices(run))
    write_page(page, folder / "report.html")


def subtitle(run: ReportedRun | None, counts: str) -> str:
    """What was judged on what, as far as the run's log says it, and how many of what there are."""
    request = {} if run is None else run.facts["request"]
    data = request.get("data") or {}
    split = f" ({data['split']})" if data.get("split") else ""
    judged = " on ".join(part for part in (model_words(request), f"{data.get('name', '')}{split}") if part)
    failed = "; some cases failed, see below" if run is not None and run.failed.count else ""
    return f"{judged}{': ' if judged else ''}{counts}{failed}"


def read_history(folder: Path) -> History:
    """The rows of `history.json`; none where it is not there, or (with a warning) cannot be read."""
    path = folder / "history.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [row for row in rows if isinstance(row, dict)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        warnings.warn(f"{path} cannot be read and is left out of the report: {error}.", OmlabWarning, stacklevel=2)
        return []


def training_sections(history: History) -> list[Section]:
    """The losses of training, and what was forgotten meanwhile, where they are known."""
    figures = []
    if any("loss" in name for row in history for name in row):
        figures.append(
            Figure(
                loss_curve(history),
                alt=f"Training loss over {len(history)} rows of the history.",
                caption="What the training minimised, epoch by epoch: it should fall and level out. Where that of the "
                "validation rises again while the other falls, the model learns its training cases by heart.",
            )
        )
    text = " ".join(forgotten(history))
    return [Section("Training", figures, text=text)] if figures or text else []


def forgotten(history: History) -> list[str]:
    """A sentence on what a model that kept its classes forgot while it learned new ones; none of another model."""
    found = [row[KEPT] for row in history if isinstance(row.get(KEPT), int | float) and math.isfinite(row[KEPT])]
    if not found:
        return []
    return [
        "The classes that the model kept: on training windows it gives them as it did before training by a mean Dice "
        f"of {found[-1]:.3f}, where 1 means that nothing was forgotten."
    ]


def resampling(*, rounds: int, seed: int) -> str:
    """What the intervals are."""
    return (
        f"Intervals: 95 % percentile bootstrap over cases (cases of one patient together), {rounds} rounds, seed "
        f"{seed}. They say how figures vary with the choice of cases, not how a retrained model varies."
    )


def few(cases: int) -> list[str]:
    """A reservation where there are few cases."""
    if 0 < cases < FEW_CASES:
        return [f"With {counted(cases, 'case')} the intervals are rough, and rather too narrow."]
    return []


def counted(number: int, thing: str) -> str:
    """`3 classes`."""
    plural = f"{thing}es" if thing.endswith("s") else f"{thing}s"
    return f"{number} {thing if number == 1 else plural}"

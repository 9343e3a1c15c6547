"""Results in the form that the Hugging Face Hub reads in a model's repository (`.eval_results/*.yaml`).

A file a model: copy it into `.eval_results/` of the model's repository. The hub shows those of data sets that it knows;
`dataset.id` is what omlab calls the data, to be replaced by the hub's own name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from omlab_benchmark.entries import shots_name
from omlab_benchmark.standing import Standing


def write_eval_results(found: Sequence[Standing], *, headline: str, data: str, folder: Path) -> None:
    """Write a file for each model with its headline figures; makes the folder."""
    folder.mkdir(exist_ok=True)
    by_model: dict[str, list[dict[str, Any]]] = {}
    for standing in found:
        figure = standing.figures[headline]
        if figure.value is None:
            continue
        notes = f"{headline}, {standing.adapter}, {len(standing.by_seed)} seeds"
        if figure.low is not None and figure.high is not None:
            notes += f", 95 % interval {figure.low:.4f} to {figure.high:.4f}"
        by_model.setdefault(standing.model, []).append(
            {
                "dataset": {"id": data, "task_id": shots_name(standing.shots)},
                "value": round(figure.value, 4),
                "source": {"name": "omlab benchmark"},
                "notes": notes,
            }
        )
    for model, entries in by_model.items():
        name = re.sub(r"[^A-Za-z0-9._]+", "-", model).strip("-.")
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")

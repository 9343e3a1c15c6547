"""Does Volume Fusion teach what two labelled cases cannot? Fine-tuning from it against training from scratch.

    python benchmarks/few_labels.py FOLDER [--network misfm-fmunet-tiny] [--seeds 4] [--picture docs/images/x.png]

Phantoms of the abdomen at half the size. The network is pre-trained by Volume Fusion on 16 of them, without labels. For
each seed two other phantoms are labelled, and networks are trained on these by the recipe `segmentation`, all settings
equal: one from the pre-trained weights, one from its initial ones. Both are judged after each epoch, unseen phantoms:
the mean Dice of the six organs. Results are written after each seed; some ten CPU minutes in all.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import omlab
from omlab.errors import OmlabWarning
from omlab.roles import About, Case, Dataset
from omlab_misfm.model import MisfmModel
from omlab_train import fit

UNLABELLED, LABELLED, UNSEEN = 16, 2, 5
BOTH: dict[str, Any] = {
    "patches": 2, "learning_rate": 0.002, "patch_size": [], "spacing": [], "resolution_mode": "own"
}  # fmt: skip
PRETRAINING: dict[str, Any] = {
    **BOTH, "epochs": 8, "steps_per_epoch": 60, "clip": [-1000, 1000],
    "smallest_block": [4, 8, 8], "largest_block": [8, 16, 16],
}  # fmt: skip
FINE_TUNING: dict[str, Any] = {**BOTH, "epochs": 4, "steps_per_epoch": 24, "augment": True}


@dataclass(frozen=True)
class Chosen:
    """Some cases of the training split of a data set (`omlab.roles.Dataset`)."""

    data: Dataset
    numbers: Sequence[int]

    def splits(self) -> Sequence[str]:
        return ["train"]

    def about(self, split: str) -> About:
        return self.data.about("train")

    def cases(self, split: str) -> Sequence[Case]:
        return [self.data.cases("train")[number] for number in self.numbers]


class Watched:
    """A recipe that is judged after every epoch (`omlab_train.Recipe`)."""

    def __init__(self, model: MisfmModel, recipe: Any, unseen: Sequence[Case]) -> None:
        self.model, self.recipe, self.unseen = model, recipe, unseen
        self.rows: list[list[float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.recipe, name)

    def validate(self) -> Mapping[str, float]:
        self.rows.append([dice(self.model, case) for case in self.unseen])
        return {"dice": float(np.mean(self.rows[-1]))}


def dice(model: MisfmModel, case: Case) -> float:
    """The mean Dice of the organs of a case."""
    sample = case.load()
    wanted = sample.target.array
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OmlabWarning)
        found = model.segment(sample.inputs["volume"]).array
    values = [value for value in np.unique(wanted) if value]
    pairs = [(found == value, wanted == value) for value in values]
    return float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]))


def trained(model: MisfmModel, data: Chosen, recipe: str, settings: Mapping[str, Any], *, seed: int, folder: Path,
            unseen: Sequence[Case] = ()) -> tuple[MisfmModel, Any, list[dict[str, float]]]:  # fmt: skip
    """A copy of `model` after a recipe."""
    target = model.retarget(recipe, data.about("train"), settings=settings, seed=seed)
    made = Watched(target, target.recipe(recipe, data, settings=settings, seed=seed), unseen)
    if unseen:
        made.validate()  # before the first step
    else:
        made.validate = lambda: None  # type: ignore[method-assign]
    history = fit(made, folder=folder, device="cpu", seed=seed)
    return target, made, history


def interval(values: Sequence[float]) -> list[float]:
    """The mean with a 95 % bootstrap interval."""
    draws = np.random.default_rng(0).choice(np.array(values), (5000, len(values))).mean(1)
    return [float(np.mean(values)), *np.percentile(draws, [2.5, 97.5]).tolist()]


def figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """Means over seeds and unseen cases with intervals over both, and what pre-training gains at the end of a seed."""
    last = {arm: [row[-1] for row in result[arm]] for arm in ("scratch", "pretrained")}
    gains = [float(np.mean(b) - np.mean(a)) for a, b in zip(last["scratch"], last["pretrained"], strict=True)]
    return {
        "untrained": interval([value for row in result["scratch"] for value in row[0]]),
        "scratch": interval(np.concatenate(last["scratch"]).tolist()),
        "pretrained": interval(np.concatenate(last["pretrained"]).tolist()),
        "gain of each seed": gains,
        "gain": interval(gains),
    }


def draw(result: Mapping[str, Any], path: Path) -> None:
    """The curves: a line for each seed, a thick one for their mean."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    losses = [row["loss"] for row in result["pretraining"]]
    steps = PRETRAINING["steps_per_epoch"]
    axes[0].plot([steps * (n + 1) for n in range(len(losses))], losses, "o-", color="#444444")
    axes[0].set(title="Volume Fusion, no labels", xlabel="step", ylabel="loss (mean of an epoch)")
    for arm, colour, name in (("scratch", "#b35806", "from scratch"), ("pretrained", "#2166ac", "from Volume Fusion")):
        rows = np.array(result[arm]).mean(2)  # (seeds, epochs)
        places = FINE_TUNING["steps_per_epoch"] * np.arange(rows.shape[1])
        axes[1].plot(places, rows.T, color=colour, alpha=0.3, linewidth=1)
        axes[1].plot(places, rows.mean(0), "o-", color=colour, linewidth=2, label=name)
    axes[1].set(title=f"Then {LABELLED} labelled cases, {len(rows)} seeds", xlabel="step", ylabel="Dice, unseen cases")
    axes[1].legend(frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", default="misfm-fmunet-tiny")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    counts = {"train": UNLABELLED + LABELLED * options.seeds, "test": UNSEEN, "scale": 0.5}
    data = omlab.load_dataset("abdomen-phantom", root=options.folder / "phantom", settings=counts)
    data.prepare()
    unseen = list(data.cases("test"))
    base = omlab.load_model(f"{options.network}.untrained", device="cpu", settings={"step": 1.0}).model
    begun = time.process_time()
    every = Chosen(data, range(UNLABELLED))
    fused, _, history = trained(base, every, "volume-fusion", PRETRAINING, seed=0, folder=options.folder / "fusion")
    result: dict[str, Any] = {"network": options.network, "pretraining": history, "scratch": [], "pretrained": []}
    print(
        "pre-training",
        [round(row["loss"], 3) for row in history],
        f"{time.process_time() - begun:.0f} CPU s",
        flush=True,
    )
    for seed in range(options.seeds):
        two = Chosen(data, [UNLABELLED + LABELLED * seed + n for n in range(LABELLED)])
        for arm, start in (("scratch", base), ("pretrained", fused)):
            folder = options.folder / f"{arm}-{seed}"
            _, watched, _ = trained(start, two, "segmentation", FINE_TUNING, seed=seed, folder=folder, unseen=unseen)
            result[arm].append(watched.rows)
            print(arm, seed, [round(float(np.mean(row)), 3) for row in watched.rows], flush=True)
        result["figures"] = figures(result)
        result["cpu_seconds"] = time.process_time() - begun
        (options.folder / "few_labels.json").write_text(json.dumps(result, indent=1))
        if options.picture:
            draw(result, options.picture)
    print(json.dumps(result["figures"], indent=1))


if __name__ == "__main__":
    main()

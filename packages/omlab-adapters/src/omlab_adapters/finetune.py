"""Adapter `finetune`: all weights of a model, trained on the `train` split of a data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab import progress
from omlab.card_schema import AdapterCard
from omlab.errors import SettingsError, TrainingError, UsageError
from omlab.roles import Adapted, Dataset, Finetunable, Model, ModelBuilder, Sample

SPLIT = "train"


def load(card: AdapterCard, *, settings: Mapping[str, Any]) -> Finetune:
    """The entry of the card."""
    return Finetune(settings)


class Finetune:
    """Fine-tunes any model with the capability `finetune`; fulfils `omlab.roles.Adapter`.

    The model makes a copy of itself with heads for the new targets (`retarget`) and says how that is trained
    (`training_task`); the loop is `omlab_train.fit`.

    Args:
        settings: Those of the card, complete; they are passed on to the model's `training_task`.

    Raises:
        SettingsError: A setting has a value that it cannot have.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)
        self.settings["patch_size"] = [int(n) for n in _three(settings["patch_size"], name="patch_size", whole=True)]
        self.settings["spacing"] = _three(settings["spacing"], name="spacing", whole=False)
        rate = settings["learning_rate"]
        if not 0 < rate < math.inf:
            raise SettingsError(f"The setting 'learning_rate' is {rate}, but must be above 0.")

    def fit(self, model: Model, data: Dataset, *, device: str, seed: int, folder: Path) -> Adapted:
        """Train a copy of `model`; `model` itself stays as it is.

        Raises:
            UsageError: The model cannot be fine-tuned, or the data set has no training split.
            TrainingError: The split is empty, a case has no target, or training fails.
        """
        from omlab_train import fit

        if not isinstance(model, Finetunable):
            raise UsageError(
                f"{type(model).__name__} cannot be fine-tuned: it lacks the capability 'finetune' "
                "(module, retarget, training_task and config)."
            )
        samples = _training_samples(data)
        target = model.retarget(samples, seed=seed)
        task = target.training_task(samples, settings=self.settings, seed=seed)
        history = fit(task, folder=folder, device=device, seed=seed)
        tensors = {name: tensor.detach().cpu() for name, tensor in target.module.state_dict().items()}
        return Adapted(model=target, config=target.config(), tensors=tensors, history=history)

    def restore(self, build: ModelBuilder, *, config: Mapping[str, Any], weights: Path) -> Model:
        """The fine-tuned model: the base model's code with the new configuration and the new weights."""
        return build(weights=weights, config=config)


def _training_samples(data: Dataset) -> Sequence[Sample]:
    splits = data.splits()
    if SPLIT not in splits:
        raise UsageError(f"The data set has no split '{SPLIT}' to train on; it has {', '.join(splits) or 'none'}.")
    ids = data.ids(SPLIT)
    if not ids:
        raise TrainingError(f"The split '{SPLIT}' of the data set is empty: there is nothing to train on.")
    samples = []
    with progress.task("reading cases", total=len(ids)) as advance:
        for id in ids:
            sample = data.sample(id)
            if sample.target is None:
                raise TrainingError(f"Case '{id}' has no target: training needs one for every case of '{SPLIT}'.")
            samples.append(sample)
            advance(1)
    return samples


def _three(values: Sequence[Any], *, name: str, whole: bool) -> list[float]:
    """No number, or three positive ones (`whole`: of voxels)."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    wrong = len(numbers) != len(values) or len(numbers) not in (0, 3)
    if wrong or any(not 0 < n < math.inf or (whole and n != int(n)) for n in numbers):
        kind = "whole numbers" if whole else "numbers"
        raise SettingsError(
            f"The setting '{name}' is {list(values)}, but must be three positive {kind} (z,y,x) or empty."
        )
    return [float(number) for number in numbers]

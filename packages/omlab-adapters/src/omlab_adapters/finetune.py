"""Adapter `finetune`: the weights of a model, trained by one of its recipes; all, the last blocks, or the head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.card_schema import AdapterCard
from omlab.errors import SettingsError
from omlab.roles import Adapted, Base, Dataset, Model, Trainable
from omlab_adapters.changes import changed, new_parameters, rebuilt, save
from omlab_adapters.training import draw_curves, retargeted, train


def load(card: AdapterCard, *, settings: Mapping[str, Any]) -> Finetune:
    """The entry of the card."""
    return Finetune(part=settings["part"], blocks=settings["blocks"], workers=settings["workers"])


class Finetune:
    """Trains a copy of any model that has recipes (`omlab.roles.Adapter`).

    Args:
        part: `all`, `last-blocks` or `head`: which weights move; those of new heads always do.
        blocks: How many of the model's `layers()` below the head, for `last-blocks`.
        workers: Processes that make batches.
    """

    def __init__(self, *, part: str, blocks: int, workers: int) -> None:
        self.part, self.blocks, self.workers = part, blocks, workers

    def fit(
        self,
        base: Base,
        data: Dataset,
        *,
        recipe: str | None,
        settings: Mapping[str, Any],
        seed: int,
        folder: Path,
    ) -> Adapted:
        """Train a copy; the base stays as it is.

        Raises:
            SettingsError: There are not that many blocks.
            TrainingError: The data cannot be trained on, or training fails.
        """
        assert recipe is not None  # the card requires one
        target, before = retargeted(base, data, recipe=recipe, settings=settings, seed=seed)
        self._freeze(target, before)
        history = train(
            target, data, base=base, recipe=recipe, settings=settings, seed=seed, folder=folder, workers=self.workers
        )
        state = target.module.state_dict()
        kept = changed(before, state)
        only_changes = len(kept) < len(state)
        return Adapted(
            config={"model": target.config(), "only_changes": only_changes},
            tensors=save(kept, folder),
            history=history,
            files=draw_curves(history, folder),
        )

    def restore(self, base: Base, *, config: Mapping[str, Any], tensors: Path) -> Model:
        """The fine-tuned model: the base's code with the new configuration and the stored weights."""
        return rebuilt(base, config=config["model"], tensors=tensors, only_changes=config["only_changes"])

    def _freeze(self, target: Trainable, before: Mapping[str, Any]) -> None:
        if self.part == "all":
            return
        layers = target.layers()
        below = self.blocks if self.part == "last-blocks" else 0
        if below >= len(layers):
            raise SettingsError(
                f"The setting 'blocks' is {below}, but this model has {len(layers) - 1} blocks below its head: use "
                "part=all."
            )
        moving = {name for layer in layers[len(layers) - 1 - below :] for name in layer}
        moving |= new_parameters(before, target.module)
        for name, parameter in target.module.named_parameters():
            parameter.requires_grad_(name in moving)

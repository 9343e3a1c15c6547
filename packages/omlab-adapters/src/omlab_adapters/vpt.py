"""Adapter `vpt`: visual prompt tuning. Learned tokens and new heads are trained, all else of a transformer stays.

Source: Jia et al., Visual Prompt Tuning, ECCV 2022; in medical few-shot classification: Wang et al., MedFMC,
Scientific Data 10:574 (2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from omlab.card_schema import AdapterCard
from omlab.errors import SettingsError, TrainingError
from omlab.roles import About, Adapted, Base, Dataset, Model, Trainable
from omlab.weights import read_state_dict
from omlab_adapters.changes import changed, kept_of, new_parameters, save
from omlab_adapters.prompts import PROMPT, PromptPlan, TakesPrompts, give_prompts
from omlab_adapters.training import draw_curves, retargeted, train


def load(card: AdapterCard, *, settings: Mapping[str, Any]) -> Vpt:
    """The entry of the card."""
    plan = PromptPlan(
        length=settings["length"],
        deep=settings["depth"] == "deep",
        init=settings["init"],
        compat=settings["compat"],
    )
    return Vpt(plan, workers=settings["workers"])


class Vpt:
    """Trains prompts and new heads of a Vision or Swin Transformer that has recipes (`omlab.roles.Adapter`).

    Args:
        plan: Which prompts.
        workers: Processes that make batches.
    """

    def __init__(self, plan: PromptPlan, *, workers: int) -> None:
        self.plan, self.workers = plan, workers

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
        """Train a copy with prompts; the base stays as it is.

        Raises:
            SettingsError: The model is no transformer that takes prompts, or not such prompts.
            TrainingError: The data cannot be trained on, or training fails.
        """
        assert recipe is not None  # the card requires one
        target, before = retargeted(base, data, recipe=recipe, settings=settings, seed=seed)
        moving = heads_of(target, before)
        give_prompts(promptable(target.module), self.plan, seed=seed)
        moving |= new_parameters(before, target.module)
        for name, parameter in target.module.named_parameters():
            parameter.requires_grad_(name in moving)
        history = train(
            target, data, base=base, recipe=recipe, settings=settings, seed=seed, folder=folder, workers=self.workers
        )
        return Adapted(
            config={"model": target.config()},
            tensors=save(changed(before, target.module.state_dict()), folder),
            history=history,
            files=draw_curves(history, folder),
        )

    def restore(self, base: Base, *, config: Mapping[str, Any], tensors: Path) -> Model:
        """The base with its prompts and heads."""
        model = base.build(config=config["model"], weights=None)
        module: nn.Module = cast(Trainable, model).module
        give_prompts(promptable(module), self.plan, seed=0)
        module.load_state_dict({**kept_of(base, module), **read_state_dict(tensors)})
        vars(model)["retarget"] = _refused
        return model


def heads_of(target: Trainable, before: Mapping[str, Tensor]) -> set[str]:
    """Names of the parameters that retargeting made or drew anew; where it left all as they were, those of the head."""
    parameters = {name for name, _ in target.module.named_parameters()}
    anew = changed(before, target.module.state_dict()).keys() & parameters
    return set(anew) or set(target.layers()[-1])


def _refused(recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> Trainable:
    """What a prompted model says to further training.

    Other adapters keep a model's own configuration, which knows nothing of prompts: they could not have it again.
    """
    raise TrainingError("This model has prompts and cannot be trained further: adapt the model that it was made from.")


def promptable(module: nn.Module) -> TakesPrompts:
    """The one network within a module that prompts can be put into.

    Raises:
        SettingsError: There is none, or several, or it has prompts already.
    """
    found = [network for part in module.modules() if (network := _as_promptable(part)) is not None]
    if len(found) != 1:
        raise SettingsError(
            f"vpt puts prompts into one Vision or Swin Transformer, but {type(module).__name__} has "
            f"{len(found) or 'none'} (of timm: VisionTransformer, Eva, Beit, SwinTransformer): use lora or finetune."
        )
    if any(name.rpartition(".")[2] == PROMPT for name, _ in module.named_parameters()):
        raise SettingsError(f"{type(module).__name__} has prompts already: adapt the model that it was made from.")
    return found[0]


def _as_promptable(part: nn.Module) -> TakesPrompts | None:
    if isinstance(part, TakesPrompts):
        return part
    try:
        from omlab_adapters.prompts_timm import taking_prompts
    except ModuleNotFoundError:  # where timm is not installed, no network is one of its
        return None
    return taking_prompts(part)

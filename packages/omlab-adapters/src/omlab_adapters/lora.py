"""Adapter `lora`: low-rank additions to the layers of any torch module, through peft.

Source: Hu et al., LoRA, ICLR 2022: a layer's weight W stays, W + (alpha / rank) B A is used, A and B are trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from omlab.card_schema import AdapterCard
from omlab.errors import SettingsError
from omlab.roles import Adapted, Base, Dataset, Model, Trainable
from omlab.weights import read_state_dict
from omlab_adapters.changes import changed, kept_of, new_parameters, save
from omlab_adapters.training import draw_curves, retargeted, train

ADAPTER = "omlab"


def load(card: AdapterCard, *, settings: Mapping[str, Any]) -> Lora:
    """The entry of the card."""
    return Lora(**settings)


class Lora:
    """Trains additions and new heads of any model that has recipes (`omlab.roles.Adapter`).

    Args:
        rank: Of the additions.
        alpha: They are scaled by `alpha / rank`.
        dropout: In front of them, while training.
        targets: Ends of the names of layers that get one; empty: every linear layer but those that are new and, of a
            language model, the one that gives its logits.
        workers: Processes that make batches.
    """

    def __init__(self, *, rank: int, alpha: int, dropout: float, targets: Sequence[str], workers: int) -> None:
        self.rank, self.alpha, self.dropout = rank, alpha, dropout
        self.targets, self.workers = [str(target) for target in targets], workers

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
        """Train a copy with additions; the base stays as it is.

        Raises:
            SettingsError: No layer has one of the names of `targets`.
            TrainingError: The data cannot be trained on, or training fails.
        """
        assert recipe is not None  # the card requires one
        target, before = retargeted(base, data, recipe=recipe, settings=settings, seed=seed)
        new = new_parameters(before, target.module)
        layers = self._layers(target.module, new)
        heads = {name: parameter for name, parameter in target.module.named_parameters() if name in new}
        self._inject(target.module, layers, seed=seed)
        for parameter in heads.values():
            parameter.requires_grad_(True)
        history = train(
            target, data, base=base, recipe=recipe, settings=settings, seed=seed, folder=folder, workers=self.workers
        )
        additions = {name: tensor for name, tensor in target.module.state_dict().items() if ".lora_" in name}
        rest = {
            name.replace(".base_layer.", "."): tensor
            for name, tensor in target.module.state_dict().items()
            if ".lora_" not in name
        }
        kept = {**changed(before, rest), **{name: tensor.detach().cpu() for name, tensor in additions.items()}}
        return Adapted(
            config={"model": target.config(), "layers": layers},
            tensors=save(kept, folder),
            history=history,
            files=draw_curves(history, folder),
        )

    def restore(self, base: Base, *, config: Mapping[str, Any], tensors: Path) -> Model:
        """The base with its additions worked into the weights: as fast as the base."""
        model = base.build(config=config["model"], weights=None)
        module: nn.Module = cast(Trainable, model).module
        stored = read_state_dict(tensors)
        heads = {name: value for name, value in stored.items() if ".lora_" not in name}
        module.load_state_dict({**kept_of(base, module), **heads})
        self._inject(module, list(config["layers"]), seed=0)
        _load_additions(module, stored)
        _merge(module)
        return model

    def _layers(self, module: nn.Module, new: set[str]) -> list[str]:
        """Full names of the layers that get an addition."""
        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding) if self.targets else (nn.Linear,)
        outputs = [] if self.targets else _outputs(module)
        found = [
            name
            for name, layer in module.named_modules()
            if isinstance(layer, kinds)
            and f"{name}.weight" not in new
            and not any(layer is output for output in outputs)
            and (not self.targets or any(name == end or name.endswith(f".{end}") for end in self.targets))
        ]
        if not found:
            some = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)][:5]
            wanted = f"ends in {' or '.join(self.targets)}" if self.targets else "is linear"
            raise SettingsError(
                f"No layer {wanted}: name some with -s targets=...; this model's linear layers begin with "
                f"{', '.join(some) or 'none'}."
            )
        return found

    def _inject(self, module: nn.Module, layers: Sequence[str], *, seed: int) -> None:
        """Put the additions in place; everything else stops learning."""
        import torch
        from peft import LoraConfig, inject_adapter_in_model

        config = LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=list(layers), bias="none"
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            inject_adapter_in_model(config, module, adapter_name=ADAPTER)
        for name, parameter in module.named_parameters():
            if ".lora_" in name:
                parameter.data = parameter.data.float()  # in fewer bits small steps would be lost


def _outputs(module: nn.Module) -> list[nn.Module]:
    """The layers that give the logits of language models of transformers: as large as their vocabularies."""
    parts = [part for part in module.modules() if hasattr(part, "get_output_embeddings")]
    return [layer for part in parts if (layer := cast(Any, part).get_output_embeddings()) is not None]


def _load_additions(module: nn.Module, stored: Mapping[str, Tensor]) -> None:
    missing, _ = module.load_state_dict({n: t for n, t in stored.items() if ".lora_" in n}, strict=False)
    lacking = [name for name in missing if ".lora_" in name]
    if lacking:
        raise SettingsError(f"The adapted model has no addition '{lacking[0]}': it was made for another network.")


def _merge(module: nn.Module) -> None:
    """Work the additions into the weights and take the wrappers off."""
    from peft.tuners.lora import LoraLayer

    wrapped = [name for name, layer in module.named_modules() if isinstance(layer, LoraLayer)]
    for name in wrapped:
        layer: Any = module.get_submodule(name)
        layer.merge(safe_merge=False, adapter_names=[ADAPTER])
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, layer.get_base_layer())
    for parameter in module.parameters():
        parameter.requires_grad_(True)

"""Networks of timm: by name, with somebody's weights, as encoders or classifiers.

What timm knows of a network stands in its registry, so that one that is new is here as soon as timm is installed anew.
Weights are read by omlab and handed to timm, whose own rules for older files are then applied.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.data.config import resolve_data_config
from timm.models import PretrainedCfg, get_pretrained_cfg, is_model, list_models
from timm.models._manipulate import group_with_matcher
from torch import Tensor, nn

from omlab.errors import SettingsError, WeightsError, one_line
from omlab.suggest import did_you_mean
from omlab_image.transforms import Evaluation, evaluation

HUB = "hub"
COLOURS = 3
_SAID = 400  # characters of what torch says of a file that does not fit


def check(settings: Mapping[str, Any], *, weights: str) -> None:
    """Raise `SettingsError` where there is no such network, it has no such weights, or it cannot be used here."""
    name = settings["model"]
    architecture, _, tag = name.partition(".")
    if not is_model(architecture):
        raise SettingsError(f"timm has no network '{name}': {did_you_mean(name, known(), none='it has none.')}")
    tagged = list(list_models(f"{architecture}.*", pretrained=True))
    if tag and name not in tagged:
        hint = did_you_mean(name, tagged, none="it publishes none.")
        raise SettingsError(f"timm has no weights '{tag}' of '{architecture}': {hint}")
    if not tag and weights == HUB:
        hint = f"name them, such as {', '.join(tagged[:3])}" if tagged else "timm publishes none"
        raise SettingsError(f"'{name}' is a network without the name of its weights: {hint}.")
    config = get_pretrained_cfg(name)
    assert config is not None
    if weights == HUB and config.hf_hub_id != f"timm/{name}":
        where = config.hf_hub_id or config.url or "nobody says where"
        raise SettingsError(
            f"The weights of '{name}' are not among timm's own on the Hub ({where}): fetch them and use --weights FILE."
        )
    channels, height, width = config.input_size
    if channels != COLOURS or height != width:
        raise SettingsError(
            f"'{name}' takes {channels} channels of {height} x {width} pixels: only square pictures of {COLOURS} "
            "colours can be given to it here."
        )


def known() -> list[str]:
    """Every name with its weights, then every architecture."""
    return [*list_models(pretrained=True), *list_models()]


def build(
    name: str, *, size: int = 0, classes: int = 0, state: Mapping[str, Tensor] | None = None, source: str = ""
) -> nn.Module:
    """A network in evaluation mode that gives features (B, D), or logits (B, classes) of a head.

    Args:
        name: timm's, such as `vit_small_patch16_224.dino`.
        size: Pixels of a side; 0: as it was trained. Tables of positions are resized by timm's rules.
        classes: Outputs of a new head; 0: none.
        state: Weights, with any head or none; None: drawn at random.
        source: Where `state` comes from, for messages.

    Raises:
        SettingsError: The network cannot have that size.
        WeightsError: The weights are another network's; names some of the keys.
    """
    config = get_pretrained_cfg(name)
    assert config is not None
    more: dict[str, Any] = {"img_size": size} if size and config.fixed_input_size else {}
    if state is None:
        return _created(name, num_classes=classes, **more).eval()
    outputs = _outputs(state, config)
    overlay = {"state_dict": dict(state), "num_classes": outputs, "label_offset": 0, "hf_hub_id": None, "url": ""}
    try:
        network = _created(name, num_classes=outputs, pretrained=True, pretrained_cfg_overlay=overlay, **more)
    except RuntimeError as error:
        said = one_line(error)[:_SAID]
        raise WeightsError(f"{source} does not fit '{name}': {said}.") from error
    network.pretrained_cfg["state_dict"] = None  # type: ignore[assignment,operator,index]  # timm keeps what it was handed
    return with_head(network, classes=classes, seed=0) if outputs or classes else network.eval()


def with_head(network: nn.Module, *, classes: int, seed: int) -> nn.Module:
    """The network itself with a new head, the same one for the same seed; 0 classes: without one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.reset_classifier(classes)  # type: ignore[operator]  # every network of timm has it
    return network.eval()


def copied(network: nn.Module) -> nn.Module:
    """A network of its own with the same weights."""
    return copy.deepcopy(network)


def transform(network: nn.Module, *, size: int) -> Evaluation:
    """What timm does to a picture in evaluation for these weights: `Image` -> [3, S, S]."""
    facts = resolve_data_config({}, model=network)  # type: ignore[no-untyped-call]
    return evaluation(
        size or facts["input_size"][-1],
        crop=facts["crop_pct"],
        aspect="ignore" if facts["crop_mode"] == "squash" else "keep",
        interpolation=facts["interpolation"],
        mean=facts["mean"],
        std=facts["std"],
    )


def layers_of(network: nn.Module) -> list[list[str]]:
    """Names of parameters from input to head, as timm groups them for layer-wise decay."""
    matcher = network.group_matcher(coarse=False)  # type: ignore[operator]  # every network of timm has it
    groups = group_with_matcher(network.named_parameters(), matcher)
    return [list(groups[number]) for number in sorted(groups)]


def undecayed(network: nn.Module) -> list[str]:
    """Names of parameters that timm keeps from weight decay, beside those of one dimension."""
    return sorted(network.no_weight_decay()) if hasattr(network, "no_weight_decay") else []  # type: ignore[operator]


def _created(name: str, **more: Any) -> nn.Module:
    try:
        network: nn.Module = timm.create_model(name, **more)
    except (AssertionError, ValueError, TypeError, NotImplementedError) as error:
        said = one_line(error)[:_SAID]
        raise SettingsError(f"timm cannot build '{name}' so ({type(error).__name__}: {said}).") from error
    return network


def _outputs(state: Mapping[str, Tensor], config: PretrainedCfg) -> int:
    """Outputs of the head in a file; 0: there is none."""
    heads = (config.classifier,) if isinstance(config.classifier, str) else tuple(config.classifier or ())
    found = [state[f"{head}.weight"] for head in heads if f"{head}.weight" in state]
    return len(found[0]) if found else 0

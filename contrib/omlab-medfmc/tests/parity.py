"""How this package answers golden cases: networks of any sizes with prompts in the published forms, and lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omlab_adapters.prompts import drawn, rows
from omlab_medfmc import metrics
from omlab_medfmc.lists import Entry
from omlab_medfmc.losses import multi_label_loss, single_label_loss
from omlab_medfmc.parts import Classifier
from omlab_medfmc.sets import MedfmcSet, set_of
from omlab_medfmc.support import support_set
from omlab_medfmc.swin import Swin, SwinConfig
from omlab_medfmc.vit import Vit, VitConfig
from omlab_testkit.expected import Answer, answer_parts, difference

Build = Mapping[str, Any]


def build(case: dict[str, Any]) -> Classifier:
    """The network with the case's hyper-parameters and prompts, untrained, in eval mode."""
    shape = case["build"]
    backbone = _swin(shape) if "window_size" in shape else _vit(shape)
    width = backbone.norm3.normalized_shape[0] if isinstance(backbone, Swin) else backbone.config.width
    return Classifier(backbone, width=width, classes=shape["num_classes"]).eval()


def _swin(shape: Build) -> Swin:
    arch = shape["arch"]
    config = SwinConfig(
        patch=shape.get("patch_size", 4),
        width=arch["embed_dims"],
        depths=tuple(arch["depths"]),
        heads=tuple(arch["num_heads"]),
        window=shape["window_size"],
        channels=shape.get("in_channels", 3),
    )
    network = Swin(config)
    prompt = drawn(len(shape["prompt_layers"]), length=shape["prompt_length"], width=config.width, init="zero", seed=0)
    network.take_prompts(prompt, rows=[0], compat=True)  # the numbers are those of the published order
    return network


def _vit(shape: Build) -> Vit:
    """Branch master's forms have an `out_type`, and norms of 1e-5 unless the case says otherwise."""
    arch, is_master = shape["arch"], "out_type" in shape
    config = VitConfig(
        image_size=shape["img_size"],
        patch=shape["patch_size"],
        width=arch["embed_dims"],
        depth=arch["num_layers"],
        heads=arch["num_heads"],
        hidden=arch["feedforward_channels"],
        channels=shape.get("in_channels", 3),
        eps=shape.get("norm_eps", 1e-5 if is_master else 1e-6),
        pre_norm=shape.get("pre_norm", False),
        scaled=bool(shape.get("layer_scale_init_value", 0)),
        final_norm=shape.get("final_norm", True),
        output=shape.get("out_type", "cls_token"),
    )
    network = Vit(config)
    if is_master:
        deep = shape.get("deep_prompt", True)
        places, count = rows(config.depth, deep=deep, compat=True), config.depth if deep else 1
    else:
        layers = shape["prompt_layers"]
        if shape.get("prompt_pos", "prepend") != "prepend" or layers != list(range(len(layers))):
            raise KeyError("prompt_pos")
        places, count = [n if n in layers else None for n in range(config.depth)], len(layers)
    prompt = drawn(count, length=shape["prompt_length"], width=config.width, init="zero", seed=0)
    network.take_prompts(prompt, rows=places)
    return network


def run(module: Classifier, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the case names: the tokens that go into and come out of blocks, features, logits."""
    with torch.inference_mode(), _recorded(module) as outputs:
        outputs["logits"] = module(inputs["image"])
    return outputs


@contextmanager
def _recorded(module: Classifier) -> Iterator[dict[str, Tensor]]:
    outputs: dict[str, Tensor] = {}
    backbone = module.backbone
    handles = [
        _keep(outputs, backbone.patch_embed, after="patch_embed", of=lambda patches: patches.flatten(1, 2)),
        _keep(outputs, backbone, after="features"),
    ]
    if isinstance(backbone, Vit):
        for n, layer in enumerate(backbone.layers):
            handles.append(_keep(outputs, layer, before=f"layer{n}_in", after=f"layer{n}_out"))
    else:
        for n, stage in enumerate(backbone.stages):
            handles.append(_keep(outputs, stage, before=f"stage{n}_in"))
            handles += [_keep(outputs, part, after=f"stage{n}_block{b}") for b, part in enumerate(stage.blocks)]
            if stage.downsample is not None:
                handles.append(_keep(outputs, stage.downsample, after=f"stage{n}_down"))
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _keep(
    outputs: dict[str, Tensor], part: nn.Module, *, before: str = "", after: str = "", of: Any = lambda found: found
) -> Any:
    def keep(_part: nn.Module, given: tuple[Tensor, ...], _named: Any, found: Any) -> None:
        if before:
            outputs[before] = given[0].clone()
        if after:
            outputs[after] = of(found).clone()

    return part.register_forward_hook(keep, with_kwargs=True)


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file of metrics or of few-shot sets, by its parts."""
    answers: dict[str, Answer] = {"metrics": _metrics, "losses": _losses, "cases": _support_sets}
    return answer_parts(case, answers, about={"reference", "unit", "rng", "lists", "rtol", "note"})


def _metrics(part: list[Build], case: Build) -> float:
    return max(_figures(row) for row in part)


def _figures(row: Build) -> float:
    scores, labels = np.array(row["scores"]), np.array(row["labels"])
    found = _of_labels(scores, labels) if labels.ndim == 2 else _of_classes(scores, labels)
    unknown = [name for name in row["expect"] if name not in found]
    if unknown:
        raise KeyError(unknown[0])
    return max(difference(found[name], value) for name, value in row["expect"].items())


def _of_labels(scores: Any, labels: Any) -> dict[str, Any]:
    areas = metrics.areas(scores, labels)
    return {
        "auc_per_class": areas.by_class,
        "auc": areas.mean,
        "auc_per_class_published_behaviour": areas.published,
        "auc_published_behaviour": areas.published_mean,
        "auc_per_class_with_this_sklearn": areas.by_class,
        "auc_mean_over_defined_classes": areas.mean,
        "ap_per_class": metrics.average_precisions(scores, labels),
        "mAP": metrics.mean_average_precision(scores, labels),
        **metrics.precision_recall_f1(scores, labels),
    }


def _of_classes(scores: Any, labels: Any) -> dict[str, Any]:
    tops = {f"accuracy_top{n}": metrics.accuracy(scores, labels, top=n) for n in range(1, scores.shape[1] + 1)}
    return {
        "auc": metrics.area_of_classes(scores, labels, twice=True),
        "auc_without_second_softmax": metrics.area_of_classes(scores, labels),
        **tops,
    }


def _losses(part: Build, case: Build) -> float:
    logits = torch.tensor(part["features"]) @ torch.tensor(part["weight"]).T + torch.tensor(part["bias"])
    inputs = {"features", "weight", "bias", "multilabel", "multilabel_with_difficult", "label", "note"}
    found = {
        "bce": multi_label_loss(logits, torch.tensor(part["multilabel"])).item(),
        "bce_with_difficult": multi_label_loss(logits, torch.tensor(part["multilabel_with_difficult"])).item(),
        "ce": single_label_loss(logits, torch.tensor(part["label"])).item(),
    }
    expected = {name: value for name, value in part.items() if name not in inputs}
    return difference({name: found[name] for name in expected}, expected)


def _support_sets(part: list[Build], case: Build) -> float:
    return max(_support_set(row, case["lists"][row["dataset"]]) for row in part)


def _support_set(row: Build, entries: list[Build]) -> float:
    one = _with_classes(set_of(row["dataset"]), entries)
    listed = [Entry(name=entry["filename"], labels=_labels(entry["gt_label"], one)) for entry in entries]
    found = support_set(listed, one, shots=row["shot"], random=Random(row["seed"]))
    names = [[entry.name for entry in of_class] for of_class in found]
    return difference(names[: len(row["support"])], row["support"])


def _with_classes(one: MedfmcSet, entries: list[Build]) -> MedfmcSet:
    """The set with as many classes as the list's labels have: the cases of ChestDR are shortened to some."""
    labels = entries[0]["gt_label"]
    return replace(one, classes=one.classes[: len(labels)]) if isinstance(labels, list) else one


def _labels(label: Any, one: MedfmcSet) -> tuple[int, ...]:
    return tuple(label) if isinstance(label, list) else tuple(int(label == n) for n in range(len(one.classes)))

"""How this package answers golden cases: towers of any size with prompts, text encoders, lists and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from omlab_cite.gastric.lists import Slide, few_shots, lines_of, patch_of, slide_of, split
from omlab_cite.gastric.metrics import accuracies
from omlab_cite.network import TEMPERATURE, Cite, cosine_logits, loss_of
from omlab_cite.sampling import TurnsOrder, turns_of
from omlab_cite.texts import encoded
from omlab_cite.vit import PromptConfig, PromptedVit, VitConfig
from omlab_testkit.expected import Answer, answer_parts, difference

Build = Mapping[str, Any]


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode."""
    shape = case["build"]
    return (_tower(shape) if "clip" in shape else BertModel(BertConfig(**shape))).eval()


def _tower(shape: Build) -> Cite:
    clip, layers = shape["clip"], list(shape.get("prompt_layers") or [0])
    config = VitConfig(
        size=clip["image_resolution"],
        patch=clip["vision_patch_size"],
        width=clip["vision_width"],
        depth=clip["vision_layers"],
        embed=clip["embed_dim"],
    )
    if layers != list(range(len(layers))):
        raise KeyError("prompt_layers")
    prompts = PromptConfig(
        length=shape.get("prompt_length", 1),
        mode=shape.get("prompt_pos", "prepend"),
        layers=len(layers),
        init=shape.get("prompt_init", shape.get("init", "normal")),
    )
    backbone = PromptedVit(config, prompts=prompts, projected=shape.get("apply_output_projection", True))
    return Cite(backbone, text_width=shape.get("neck_out"), temperature=shape.get("temperature", TEMPERATURE))


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs that the case names."""
    with torch.no_grad():
        found = _images(module, inputs) if isinstance(module, Cite) else _texts(module, inputs)
    return {name: found[name] for name in case["outputs"]}


def _images(module: Cite, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Upstream adds the mean token at the first forward of a prompt of init `token`: these numbers are of it."""
    backbone, found = module.backbone, {}
    tokens = found["ln_pre"] = backbone.model.tokens(inputs["image"])
    if backbone.prompts is not None and backbone.prompts.init == "token":
        backbone.start_prompts(tokens)
    for place, block in enumerate(backbone.model.transformer.resblocks):
        found[f"block{place}_in"] = backbone.prompted(tokens, layer=place)
        found[f"block{place}_out"] = tokens = block(found[f"block{place}_in"])
    found["image_embed"] = backbone.pooled(tokens)
    found["neck"] = module.projected(found["image_embed"])
    found["logits"] = cosine_logits(found["neck"], inputs["text_embedding"], temperature=module.temperature)
    found["prob"] = found["logits"].softmax(dim=-1)
    found["loss_per_sample"] = loss_of(found["logits"], inputs["label"])
    found["loss"] = found["loss_per_sample"].mean()
    if backbone.prompt is not None:
        found["prompt"] = backbone.prompt
    return found


def _texts(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    ids = [inputs[name] for name in sorted(inputs, key=lambda name: int(name.removeprefix("ids")))]
    pooled = encoded(module, ids, pooling="pooled")
    return {
        "pooler_output": pooled,
        "cls_last_hidden": encoded(module, ids, pooling="first"),
        "cosine": cosine_logits(pooled, pooled, temperature=0.0),
    }


def check(case: dict[str, Any]) -> dict[str, float]:
    """By part of a file without a network, the largest difference from its expected numbers."""
    answers: dict[str, Answer] = {"splits": _splits, "metrics": _metrics, "patch_balance_label_sequence": _turns}
    return answer_parts(case, answers, about={"reference", "notes", "rtol", "salt"})


def _splits(part: Any, case: Mapping[str, Any]) -> float:
    slides = [Slide(id=id, subtype=subtype, caption=caption) for id, subtype, caption in part["captions"]]
    worst = 0.0
    for row in part["cases"]:
        found = split(slides, part["listing"], share=row["val"], seed=row["seed"])
        answers = {
            "train_all": lines_of(found.train),
            "val_list": lines_of(found.test),
            "few": {
                shots: lines_of(few_shots(found.train, int(shots), seed=row["seed"])) for shots in row.get("few", {})
            },
        }
        for name in row.keys() - {"val", "seed"}:
            worst = max(worst, difference(answers[name], row[name]))
    return worst


def _metrics(part: Any, case: Mapping[str, Any]) -> float:
    patches = [patch_of(line, where="the golden file") for line in part["lines"]]
    labels, slides = [place for _, place in patches], [slide_of(name) for name, _ in patches]
    found = accuracies(np.array(part["prob"]), labels, slides)
    worst = 0.0
    for name, value in part["expect"].items():
        worst = max(worst, difference(found[name], value))
    sequence = part.get("patch_balance_label_sequence")
    return worst if sequence is None else max(worst, _taken(labels, sequence))


def _turns(part: Any, case: Mapping[str, Any]) -> float:
    return _taken([patch_of(line, where="the golden file")[1] for line in case["metrics"]["lines"]], part)


def _taken(labels: list[int], sequence: list[int]) -> float:
    names = [str(label) for label in labels]
    turns = turns_of(names, [None] * len(names), classes=[str(label) for label in sorted(set(labels))], by_slide=False)
    order = TurnsOrder(seed=0, turns=turns)
    return difference([labels[order(place)[0]] for place in range(len(sequence))], sequence)

"""How this package answers golden cases of any widths, depths and sizes: encoders, a step of each task, plain numbers.

`check` answers the file without a network: contrast, likeness, style, places, schedules and the table of positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from omlab_image.patches import draw_mask, images_of
from omlab_image.training.course import Course, half_cosine
from omlab_kernels.patch_error.naive import patchify
from omlab_pathoduet.losses import contrast, dissimilarity, placed, restyled
from omlab_pathoduet.moco import CrossScale, CrossStain, HeadsConfig, Moco
from omlab_pathoduet.multistain import EPS, DecoderConfig, MultiStain
from omlab_pathoduet.positions import sincos_table
from omlab_pathoduet.training import momentum_at
from omlab_pathoduet.vit import PathoVit, Pool, Stem, VitConfig
from omlab_testkit.expected import Answer, answer_parts, difference
from omlab_testkit.golden import recorded

Case = Mapping[str, Any]

_VIEWS = {"view1": "first", "view2": "second", "ref": "reference"}


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, in eval mode: an encoder, the module of a task, the autoencoder."""
    facts, keys = case["build"], {row[0] for row in case["state"]}
    if not facts.get("pretext_token", True):
        raise ValueError(f"{case['model']}: every network of PathoDuet has a pretext token")
    config = _config(facts, keys)
    if "decoder_embed_dim" in facts:
        if facts.get("norm_eps", EPS) != EPS:
            raise ValueError(f"{case['model']}: the autoencoder has norms of eps {EPS}")
        decoder = DecoderConfig(
            width=facts["decoder_embed_dim"], depth=facts["decoder_depth"], heads=facts["decoder_num_heads"]
        )
        return MultiStain(config, decoder=decoder, ratio=facts["mask_ratio"]).eval()
    if "mlp_dim" not in facts:
        return PathoVit(config).eval()
    heads = HeadsConfig(dim=facts["dim"], hidden=facts["mlp_dim"])
    temperature = facts.get("T", 1.0)
    if any(key.startswith("positioner.") for key in keys):
        return CrossScale(config, heads=heads, temperature=temperature, bridge=facts.get("B_T", 0.5)).eval()
    task = CrossStain if "he" in case["inputs"] else Moco
    return task(config, heads=heads, temperature=temperature).eval()


def _config(facts: Case, keys: set[str]) -> VitConfig:
    stem: Stem = "conv" if any(key.endswith("patch_embed.proj.0.weight") for key in keys) else "patch"
    has_token_norm = any(key.removeprefix("base_encoder.") == "norm.weight" for key in keys)
    pool: Pool = facts.get("global_pool", "token" if has_token_norm else "avg")
    return VitConfig(
        size=facts["img_size"],
        patch=facts.get("patch_size", 16),
        width=facts["embed_dim"],
        depth=facts["depth"],
        heads=facts["num_heads"],
        mlp_ratio=facts.get("mlp_ratio", 4.0),
        stem=stem,
        pool=pool,
        qkv_bias=facts.get("qkv_bias", True),
        eps=facts.get("norm_eps", 1e-6),
        classes=facts.get("num_classes", 0),
    )


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a case: of an encoder by its parts, of a whole training step, of the autoencoder."""
    if isinstance(module, PathoVit):
        return _encoded(module, inputs)
    if isinstance(module, MultiStain):
        return _painted(module, inputs)
    assert isinstance(module, Moco)
    return _stepped(module, case, inputs)


def _encoded(module: PathoVit, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    image, reference = inputs["image"], inputs.get("ref")
    with torch.inference_mode():
        with recorded({f"block{n}": block for n, block in enumerate(module.blocks)}) as outputs:
            outputs |= {"tokens": module.tokens(image), "patch_embed": module.patch_embed(image)}
        outputs |= {"embedded": module.embedded(image), "features": module.features(image), "logits": module(image)}
        if reference is not None:
            outputs |= {
                "ref_embed": module.pretext_of(reference),
                "tokens_ref": module.tokens(image, reference),
                "features_ref": module.features(image, reference),
                "logits_ref": module(image, reference),
            }
    return outputs


def _painted(module: MultiStain, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    he, ihc, stain, noise = (inputs[name] for name in ("he", "ihc", "stain", "noise"))
    with torch.inference_mode():
        masking = draw_mask(noise, ratio=module.ratio)
        prediction, mask = module.paint(he, stain, noise)
        loss, _ = module({"he": he, "ihc": ihc, "stain": stain, "noise": noise})
        return {
            "latent": module.encode(he, stain, masking),
            "latent_without_pretext": module.encode(he, None, masking),
            "mask": mask,
            "ids_restore": masking.restore,
            "pred": prediction,
            "image": images_of(prediction, patch=module.config.patch),
            "losses": torch.stack([loss, prediction.square().mean(), module.error(prediction, ihc, None)]),
            "decoder_pos_embed": module.decoder_pos_embed,
            "target_patches": patchify(ihc, patch=module.config.patch),
        }


def _stepped(module: Moco, case: Case, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One whole training step: losses, queries and keys, what moved, gradients."""
    module.train()
    views = {_VIEWS.get(name, name): value for name, value in inputs.items()}
    found = module.compared(views, momentum=case["build"].get("momentum", 1.0))
    found["loss"].backward()
    outputs: dict[str, Tensor] = {}
    if isinstance(module, CrossStain):
        outputs |= {"q1": found["q"], "k_of_loss1": found["k"], "losses": _row(found["loss"], found["loss"], 0.0)}
    else:
        outputs |= {name: found[name] for name in ("q1", "q2")}
        outputs |= {"k_of_loss1": found["k2"], "k_of_loss2": found["k1"]}
        outputs["losses"] = _row(found["loss"], found["ctr1"], found["ctr2"], *found.get("alike", ()))
    outputs |= {name: found[name] for name in ("position_logits", "region_projection") if name in found}
    state = module.state_dict()
    outputs |= {
        "momentum_qkv0_after": state["momentum_encoder.blocks.0.attn.qkv.weight"],
        "momentum_head_mean_after": state["momentum_encoder.head.1.running_mean"],
        "base_head_mean_after": state["base_encoder.head.1.running_mean"],
        "base_head_var_after": state["base_encoder.head.1.running_var"],
    }
    graded = {
        "grad_qkv0": "base_encoder.blocks.0.attn.qkv.weight",
        "grad_fc_norm": "base_encoder.fc_norm.weight",
        "grad_norm": "base_encoder.norm.weight",
        "grad_head0": "base_encoder.head.0.weight",
        "grad_predictor0": "predictor.0.weight",
        "grad_positioner0": "positioner.0.weight",
    }
    parameters = dict(module.named_parameters())
    gradients = {name: parameters[key].grad for name, key in graded.items() if key in parameters}
    return outputs | {name: gradient for name, gradient in gradients.items() if gradient is not None}


def _row(*losses: Tensor | float) -> Tensor:
    return torch.stack([torch.as_tensor(loss).detach().float() for loss in losses])


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "contrastive": _contrast,
        "byol": _likeness,
        "adaptive_norm": _style,
        "position_pool": _place,
        "schedule": _schedule,
        "sincos": _table,
    }
    return answer_parts(case, answers, about={"reference", "about", "note", "notes", "rtol"})


def _expected(found: Mapping[str, Any], part: Case) -> float:
    """The largest difference of the part's `expected*` numbers."""
    return max(difference(found[name], part[name]) for name in part if name.startswith("expected"))


def _contrast(part: Case, case: Case) -> float:
    queries, keys = torch.tensor(part["q"]), torch.tensor(part["k_all"])
    if len(keys) != len(queries) * part["world"]:
        return 1.0
    return _expected(
        {"expected": contrast(queries, keys, temperature=part["temperature"], rank=part["rank"]).item()}, part
    )


def _likeness(part: Case, case: Case) -> float:
    queries, keys = torch.tensor(part["q"]), torch.tensor(part["k"])
    plain = dissimilarity(queries, keys, most=1.0).item()
    tasks = dissimilarity(queries, keys).item()
    return _expected({"expected_tasks": tasks, "expected_moco_class": plain, "expected": tasks}, part)


def _style(part: Case, case: Case) -> float:
    tokens = torch.tensor(part["tokens"])
    return _expected({"expected": restyled(tokens, style=part["style_token_index"]).tolist()}, part)


def _place(part: Case, case: Case) -> float:
    return _expected({"expected": placed(torch.tensor(part["tokens"]), torch.tensor(part["logits"])).tolist()}, part)


def _schedule(part: list[Case], case: Case) -> float:
    """Rate and momentum at each point, each on its own scale."""
    far = []
    for row in part:
        course = Course(
            epochs=row["epochs"],
            batch_size=row["batch_size"],
            learning_rate=row["lr"],
            min_learning_rate=0.0,
            warmup_epochs=row["warmup_epochs"],
        )
        rate = course.rate * half_cosine(row["epoch"], epochs=row["epochs"], warmup=row["warmup_epochs"])
        momentum = momentum_at(row["epoch"], epochs=row["epochs"], first=row["momentum0"])
        far += [difference(rate, row["lr_now"]), difference(momentum, row["momentum_now"])]
    return max(far)


def _table(part: Case, case: Case) -> float:
    table = sincos_table(part["dim"], grid=part["grid"], prefix=len(part["expected"]) - part["grid"] ** 2)
    return _expected({"expected": table.tolist()}, part)

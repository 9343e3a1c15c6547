"""How this package answers golden cases of any widths, depths and sizes: classifiers, encoders, masked autoencoders.

`check` answers the file without a network: tables of positions, schedule, layer-wise decay, learning rates, metrics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omlab_image.patches import draw_mask, images_of, sincos_table
from omlab_image.training.course import Course, half_cosine
from omlab_kernels.patch_error.naive import patchify
from omlab_retfound.mae import DecoderConfig, MaskedAutoencoder, untrained_autoencoder
from omlab_retfound.positions import resized_table
from omlab_retfound.scores import scores
from omlab_retfound.vit import EPS, UNDECAYED, Form, RetFound, VitConfig, layers_of, untrained
from omlab_testkit.expected import Answer, among, answer_parts, difference
from omlab_testkit.golden import recorded, standard
from omlab_train.layers import layer_groups

Case = Mapping[str, Any]


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode."""
    facts = case["build"]
    if facts.get("ln_eps", EPS) != EPS or not facts.get("qkv_bias", True):
        raise ValueError(f"{case['model']}: RETFound has norms of eps {EPS} and a bias in qkv")
    config = _config(facts)
    if "decoder_embed_dim" not in facts:
        return untrained(config)
    decoder = DecoderConfig(
        width=facts["decoder_embed_dim"], depth=facts["decoder_depth"], heads=facts["decoder_num_heads"]
    )
    network = untrained_autoencoder(config, decoder=decoder)
    network.ratio = facts["mask_ratio"]
    return network


def _config(facts: Case) -> VitConfig:
    form: Form = "green" if facts.get("reg_tokens") else "dinov2" if facts.get("init_values") else "mae"
    pool = facts.get("global_pool", True)
    is_mean = pool if isinstance(pool, bool) else pool.startswith("avg")
    return VitConfig(
        form=form,
        size=facts["img_size"],
        patch=facts["patch_size"],
        width=facts["embed_dim"],
        depth=facts["depth"],
        heads=facts["num_heads"],
        mlp_ratio=facts["mlp_ratio"],
        pool="avg" if is_mean else "token",
        classes=facts.get("num_classes", 0),
    )


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a case: of blocks by their number, of the head in both forms, or of the whole autoencoder."""
    with torch.inference_mode():
        if isinstance(module, MaskedAutoencoder):
            return _masked(module, inputs["image"], inputs["noise"])
        assert isinstance(module, RetFound)
        with recorded(_parts(module)) as outputs:
            tokens = module.forward_features(inputs["image"])
            features = module.forward_head(tokens, pre_logits=True)
            outputs |= {"forward_features": tokens, "features": features, "logits_single_norm": module(inputs["image"])}
        outputs["out"] = outputs["logits_single_norm"]
        outputs["logits"] = _twice_normed(module, inputs["image"])
        return outputs


def _twice_normed(module: RetFound, image: Tensor) -> Tensor:
    """The logits of the same weights with the head form of upstream's present code."""
    if not module.config.norms_the_mean:
        return module(image)
    before = module.config
    module.config = replace(before, head_norm="double")
    try:
        return module(image)
    finally:
        module.config = before


def _masked(module: MaskedAutoencoder, image: Tensor, noise: Tensor) -> dict[str, Tensor]:
    masking = draw_mask(noise, ratio=module.ratio)
    patches = patchify(image, patch=module.config.patch)
    with recorded(_parts(module)) as outputs:
        latent = module.encode(image, masking)
        prediction, mask = module.paint(image, noise)
        outputs["decoder_embed"] = module.decoder_embed(latent)
    loss, raw = (module.error(prediction, image, mask, normalise=normalise) for normalise in (True, False))
    return outputs | {
        "patch_embed": module.patch_embed(image),
        "latent": latent,
        "mask": mask,
        "ids_restore": masking.restore,
        "pred": prediction,
        "target_patches": patches,
        "losses": torch.stack([loss, raw, torch.zeros_like(raw)]),
        "unpatchified": images_of(prediction, patch=module.config.patch),
        "kept_patches": patches.gather(1, masking.kept[:, :, None].expand(-1, -1, patches.shape[2])),
    }


def _parts(module: nn.Module) -> dict[str, nn.Module]:
    """Patches and blocks, by the cases' names for what they give."""
    is_masked = isinstance(module, MaskedAutoencoder)
    parts: dict[str, nn.Module] = {"patch_embed": module.get_submodule("patch_embed")}
    for name, prefix in (("blocks", "enc_block" if is_masked else "block"), ("decoder_blocks", "dec_block")):
        blocks = getattr(module, name, None)
        parts |= {f"{prefix}{n}": block for n, block in enumerate(blocks or ())}
    return parts


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "sincos": _tables,
        "pos_interpolation": _resized,
        "cosine_schedule": _schedule,
        "layer_decay": _groups,
        "lr_scaling": _rates,
        "metrics": _metrics,
    }
    return answer_parts(case, answers, about={"reference", "note", "notes", "rtol"})


def _tables(part: list[Case], case: Case) -> float:
    far = []
    for row in part:
        table = sincos_table(row["embed_dim"], grid=row["grid"], prefix=int(row["cls_token"]))
        found = {
            "shape": list(table.shape),
            "sum": table.sum().item(),
            "abs_sum": table.abs().sum().item(),
            "value": table.flatten()[row["index"]].tolist(),
        }
        far.append(among(found, row, about={"embed_dim", "grid", "cls_token", "index"}))
    return max(far)


def _resized(part: list[Case], case: Case) -> float:
    far = []
    for row in part:
        source = row["source"]
        table = torch.from_numpy(standard(source["shape"], salt=source["salt"], name=source["name"]))
        new = resized_table(table, grid=row["new_grid"], prefix=row["prefix_tokens"]).double()
        found = {
            "new_shape": list(new.shape),
            "value": new.flatten()[row["index"]].tolist(),
            "mean": new.mean().item(),
            "std": new.std(correction=0).item(),
        }
        far.append(among(found, row, about={"source", "prefix_tokens", "old_grid", "new_grid", "mode", "index"}))
    return max(far)


def _schedule(part: list[Case], case: Case) -> float:
    """Rates by epoch, each on its own scale; a group's are the rate times its scale, or the rate where it has none."""
    far = []
    for row in part:
        facts = row["args"]
        for epoch, *expected in row["rows"]:
            length = {"epochs": facts["epochs"], "warmup": facts["warmup_epochs"]}
            rate = facts["lr"] * half_cosine(epoch, final=facts["min_lr"] / facts["lr"], **length)
            found = [rate, [rate * (1.0 if scale is None else scale) for scale in row["lr_scale"]]]
            far += [difference(ours, theirs) for ours, theirs in zip(found, expected, strict=True)]
    return max(far)


def _groups(part: list[Case], case: Case) -> float:
    far = []
    for row in part:
        numbers = dict(re.findall(r"(depth|width) (\d+)", row["model"]))
        (size,) = re.findall(r"(\d+) px", row["model"])
        (heads,) = re.findall(r"(\d+) heads", row["model"])
        classes = re.findall(r"(\d+) classes", row["model"])
        config = VitConfig(
            size=int(size),
            width=int(numbers["width"]),
            depth=int(numbers["depth"]),
            heads=int(heads),
            classes=int(classes[0]) if classes else 0,
            pool="avg" if "global_pool" in row["model"] else "token",
        )
        network = untrained(config)
        names = {parameter: name for name, parameter in network.named_parameters()}
        groups = layer_groups(
            network,
            layers_of(network, depth=config.depth),
            lr=1.0,
            weight_decay=row["weight_decay"],
            decay=row["layer_decay"],
            undecayed=UNDECAYED,
        )
        found = [
            {
                "lr_scale": group["lr"],
                "weight_decay": group["weight_decay"],
                "params": [names[parameter] for parameter in group["params"]],
            }
            for group in groups
        ]
        undecayed = set(row["no_weight_decay"]) - {"dist_token"} - set(UNDECAYED)
        far.append(max(difference(found, row["groups"]), float(bool(undecayed))))
    return max(far)


def _rates(part: list[Case], case: Case) -> float:
    far = []
    for row in part:
        images = row["batch_size"] * row["world_size"]
        course = Course(
            learning_rate=row["blr"], batch_size=images, accumulate=row["accum_iter"], min_learning_rate=0.0
        )
        far.append(difference(course.rate, row["lr"]))
    return max(far)


def _metrics(part: list[Case], case: Case) -> float:
    far = []
    for row in part:
        probabilities = torch.tensor(row["logits"], dtype=torch.float64).softmax(dim=1).numpy()
        found = scores(probabilities, np.array(row["labels"]))
        far.append(among(found, row["expected"]))
    return max(far)

"""How this package answers golden cases of any sizes: backbone, projection head, segmentation, detection.

`check` answers the file without a network: losses, schedules, frames of views, pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omlab_endofm import pictures
from omlab_endofm.backbone import EPS, Backbone, BackboneConfig, Block, nearest
from omlab_endofm.detection import Detector, DetectorConfig
from omlab_endofm.segmentation import Segmenter, SegmenterConfig, segmentation_loss
from omlab_endofm.views import global_frames, last_start, local_frames, local_width
from omlab_kernels import self_distillation
from omlab_testkit import golden
from omlab_testkit.expected import Answer, answer_parts, difference
from omlab_train.distillation import HeadConfig, ProjectionHead, cosine_schedule, teacher_temperature, updated_center
from omlab_train.gradients import clip_each
from omlab_train.teacher import grouped
from omlab_video.sampling import clip_range, spread

Case = Mapping[str, Any]


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode."""
    facts = case["build"]
    if facts.get("norm_eps", EPS) != EPS or not facts.get("qkv_bias", True):
        raise ValueError(f"{case['model']}: Endo-FM has norms of eps {EPS} and a bias in qkv")
    network: nn.Module
    if "out_dim" in facts:
        head = HeadConfig(outputs=facts["out_dim"], hidden=facts["hidden"], bottleneck=facts["bottleneck"])
        network = ProjectionHead(facts["in_dim"], head)
    elif "decoder_channels" in facts:
        network = Segmenter(
            SegmenterConfig(
                blocks=_backbone(facts),
                classes=facts["classes"],
                layers=facts["resnet_layers"],
                root=int(64 * facts["width_factor"]),
                decoder=facts["decoder_channels"],
                skips=facts["n_skip"],
            )
        )
    elif "fpn_channels" in facts:
        network = Detector(
            DetectorConfig(
                backbone=_backbone(facts),
                classes=facts["classes"],
                channels=facts["fpn_channels"],
                strides=facts["strides"],
                convolutions=facts["tower_convs"],
                deformable_groups=facts["deformable_groups"],
            )
        )
    else:
        network = Backbone(_backbone(facts))
    return network.eval()


def _backbone(facts: Case) -> BackboneConfig:
    names = {
        "img_size": "size",
        "patch_size": "patch",
        "embed_dim": "width",
        "depth": "depth",
        "num_heads": "heads",
        "mlp_ratio": "mlp_ratio",
        "num_frames": "frames",
    }
    return BackboneConfig(**{ours: facts[theirs] for theirs, ours in names.items() if theirs in facts})


@torch.inference_mode()
def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every output that a case of these networks may name."""
    if isinstance(module, ProjectionHead):
        return {"bottleneck": module.mlp(inputs["features"]), "output": module(inputs["features"])}
    if isinstance(module, Segmenter):
        return _segmented(module, inputs["frames"])
    if isinstance(module, Detector):
        return _detected(module, inputs["clip"])
    assert isinstance(module, Backbone)
    return _encoded(module, inputs["video"])


def _joined(token: Tensor, patches: Tensor) -> Tensor:
    return torch.cat([token, patches.flatten(1, 2)], dim=1)


def _encoded(module: Backbone, video: Tensor) -> dict[str, Tensor]:
    token, patches = module.embedded(video)
    first = module.blocks[0]
    assert isinstance(first, Block)
    timed = first.over_time(patches)
    found = {
        "patch_embed": module.patch_embed(video.transpose(1, 2).flatten(0, 1)).flatten(1, 2),
        "tokens": _joined(token, patches),
        "block0_temporal_attn": timed,
        "block0_spatial_attn": first.over_space(token, patches + first.temporal_fc(timed).view_as(patches)),
        "last_attention": module.last_attention(video),
        "features": module(video),
        "all_tokens": _joined(*module.tokens(video)),
    }
    for number, block in enumerate(module.blocks):
        token, patches = block(token, patches)
        found[f"block{number}"] = _joined(token, patches)
    return found


def _segmented(module: Segmenter, frames: Tensor) -> dict[str, Tensor]:
    trunk, patches, skips = module.embedded(frames)
    encoded = module.transformer["encoder"](patches)
    steps = module.decoded(encoded, skips)
    found = {"resnet": trunk, "embedding": patches, "encoder": encoded, "conv_more": steps[0], "decoder": steps[-1]}
    found |= {f"skip{number}": skip for number, skip in enumerate(skips)}
    found |= {f"decoder_block{number}": step for number, step in enumerate(steps[1:])}
    return found | {"logits": module(frames)}


def _detected(module: Detector, clip: Tensor) -> dict[str, Tensor]:
    found = {f"body{number}": x for number, x in enumerate(module.body.pyramid(clip))}
    found |= {f"p{number}": x for number, x in enumerate(module.pyramid(clip), start=3)}
    for number, level in enumerate(module(clip)):
        found |= {
            f"cls_logits{number}": level.logits,
            f"bbox_reg{number}": level.distances,
            f"centerness{number}": level.centerness,
            f"stft_cls_logits{number}": level.second_logits,
            f"stft_bbox_reg{number}": level.deltas,
            f"base_box{number}": level.boxes,
        }
    return found


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "dino_loss": _losses,
        "cosine_schedule": _schedules,
        "view_sampling": _views,
        "clip_range": _ranges,
        "clip_frames": _frames,
        "multi_crop_groups": _groups,
        "short_side_resize": _resized,
        "uniform_crop": _squares,
        "normalise": _normalised,
        "photometric": _colours,
        "crop_resize": _cut,
        "clip_gradients": _clipped,
        "seg_loss": _seg_loss,
        "nearest_index": _nearest,
    }
    return answer_parts(case, answers, about={"reference", "doc", "about", "notes", "rtol", "salt"})


def _salt(case: Case) -> str:
    return str(case["dino_loss"]["salt"] if "dino_loss" in case else case.get("salt", "endofm-alg"))


def _drawn(case: Case, name: str, shape: list[int]) -> Tensor:
    return torch.from_numpy(golden.standard(shape, salt=_salt(case), name=name))


def _losses(part: Case, case: Case) -> float:
    far = []
    temperatures = part["teacher_temp_schedule"]
    warmup = next((n + 1 for n, value in enumerate(temperatures) if value == temperatures[-1]), 0)
    found = [
        teacher_temperature(epoch, first=temperatures[0], last=temperatures[-1], warmup=warmup)
        for epoch in range(len(temperatures))
    ]
    far.append(difference(found, temperatures))
    center = torch.tensor(part["cases"][0]["center_before"])
    for number, row in enumerate(part["cases"]):
        far.append(difference(center.tolist(), row["center_before"]))
        width = len(row["center_after"])
        student, teacher = (
            torch.from_numpy(golden.standard([rows, width], salt=part["salt"], name=f"{name}{number}")).view(
                views, -1, width
            )
            for name, rows, views in (("student", 20, 10), ("teacher", 4, 2))
        )
        loss = self_distillation(
            student, teacher, center, student_temperature=0.1, teacher_temperature=row["temperature"]
        )
        center = updated_center(center, teacher, momentum=0.9)
        far += [difference(loss.item(), row["loss"]), difference(center.tolist(), row["center_after"])]
    return max(far)


def _schedules(part: list[Any], case: Case) -> float:
    far = []
    for row in part:
        steps = row["epochs"] * row["iters_per_epoch"]
        warmup = row["warmup_epochs"] * row["iters_per_epoch"]
        found = [
            cosine_schedule(
                step, first=row["base"], last=row["final"], steps=steps, warmup=warmup, start=row["start_warmup"]
            )
            for step in range(steps)
        ]
        far.append(difference(found, row["values"]))
    return max(far)


def _views(part: Case, case: Case) -> float:
    far = [0.0]
    for row in part["globals"]:
        first, second = global_frames(row["frames"])
        far += [difference(first.tolist(), row["global_1"]), difference(second.tolist(), row["global_2"])]
    for row in part["locals"]:
        frames = row["frames"]
        found = {
            "width": local_width(frames),
            "start_max_inclusive": last_start(frames),
            "indices": {
                count: local_frames(row["start"], count=int(count), frames=frames).tolist() for count in row["indices"]
            },
        }
        far.append(difference(found, {name: row[name] for name in found}))
    return max(far)


def _range(row: Case) -> tuple[float, float]:
    return clip_range(frames=row["video_size"], length=row["clip_size"], number=row["clip_idx"], clips=row["num_clips"])


def _ranges(part: Case, case: Case) -> float:
    return max(difference(list(_range(row)), row["result"]) for row in part["cases"])


def _frames(part: list[Any], case: Case) -> float:
    return max(
        difference(spread(*_range(row), count=row["count"], frames=row["video_size"]).tolist(), row["indices"])
        for row in part
    )


def _groups(part: Case, case: Case) -> float:
    shapes = [(8, 4), (16, 4), *((count, 2) for count in (2, 2, 4, 4, 8, 8, 16, 16))]
    calls = grouped([torch.zeros(2, 3, count, side, side) for count, side in shapes])
    found = {"calls": [list(call.shape) for call in calls], "out_rows": sum(len(call) for call in calls)}
    return difference(found, {name: part[name] for name in found})


def _resized_clip(case: Case) -> Tensor:
    return pictures.short_side(_drawn(case, "frames", [3, 2, 40, 57]), 32)


def _resized(part: Case, case: Case) -> float:
    clip = _resized_clip(case)
    flat = clip.flatten().double()
    return max(
        difference(list(clip.shape), part["shape"]),
        difference([flat[at].item() for at, _ in part["samples"]], [value for _, value in part["samples"]]),
        abs(flat.mean().item() - part["mean"]) / part["std"],
        difference(flat.std(unbiased=True).item(), part["std"]),
    )


def _squares(part: Case, case: Case) -> float:
    far = []
    for row in part["cases"]:
        clip = _resized_clip(case)
        if row.get("tall"):
            clip = clip.transpose(2, 3)
        found = pictures.square(clip, row["shape"][2], place=row["spatial_idx"])
        far.append(difference(list(found.shape), row["shape"]))
        values = [found.double().mean().item(), found.flatten()[0].item(), found.flatten()[-1].item()]
        far.append(difference(values, [row["mean"], row["first"], row["last"]]))
    return max(far)


def _normalised(part: Case, case: Case) -> float:
    grey = torch.arange(0, 256, 51).float()[None, None, None].expand(3, 1, 1, 6)
    return max(
        difference(pictures.PRESETS["classification"](grey)[0, 0, 0].tolist(), part["classification"]),
        difference(pictures.PRESETS["pretraining"](grey)[:, 0, 0].tolist(), part["pretrain"]),
    )


def _rgb(case: Case) -> Tensor:
    return (_drawn(case, "rgb", [2, 3, 6, 5]) / np.float32(3**0.5) + 1) / 2


def _colours(part: Case, case: Case) -> float:
    frames = _rgb(case)
    grey = pictures.grey(frames)
    far = [difference(grey[0, :, 0, 0].tolist(), part["gray_first"]), difference(grey.mean().item(), part["gray_mean"])]
    for name in ("brightness", "contrast", "saturation"):
        row = part[name]
        found = getattr(pictures, name)(frames, row["alpha"])
        facts = {
            "mean": found.double().mean().item(),
            "std": found.double().std(unbiased=True).item(),
            "first": found[0, :, 0, 0].tolist(),
            "last": found[-1, :, -1, -1].tolist(),
        }
        far.append(difference(facts, {key: row[key] for key in facts}))
    return max(far)


def _cut(part: Case, case: Case) -> float:
    found = pictures.cut(_rgb(case), top=1, left=0, rows=4, columns=4, size=8)
    facts = {
        "mean": found.double().mean().item(),
        "min": found.min().item(),
        "max": found.max().item(),
        "first": found[0, :, 0, 0].tolist(),
        "row": found[1, 2, 3].tolist(),
    }
    return difference(facts, {key: part[key] for key in facts})


def _clipped(part: Case, case: Case) -> float:
    weight, bias = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(2))
    weight.grad, bias.grad = torch.zeros(2, 3), torch.tensor([0.3, 0.4])
    weight.grad[0, :2] = torch.tensor([3.0, 4.0])
    before = [weight.grad.norm().item(), bias.grad.norm().item()]
    clip_each([weight, bias], norm=3.0)
    found = {"norms_before": before, "weight": weight.grad.tolist(), "bias": bias.grad.tolist()}
    return difference(found, {key: part[key] for key in found})


def _seg_loss(part: Case, case: Case) -> float:
    logits = _drawn(case, "seg_logits", [2, 2, 6, 6])
    classes = (_drawn(case, "seg_label", [2, 6, 6]) > 0.5).long()
    ce, dice = (value.item() for value in segmentation_loss(logits, classes))
    return difference(
        {"ce": ce, "dice": dice, "total": 0.5 * (ce + dice)}, {k: part[k] for k in ("ce", "dice", "total")}
    )


def _nearest(part: Case, case: Case) -> float:
    far = [0.0]
    for name, there in (("spatial", 14), ("temporal", 8)):
        for count, expected in part.get(name, {}).items():
            far.append(difference(nearest(there, int(count)).tolist(), expected))
    return max(far)

"""How this package answers golden cases of any widths, depth, poolings and classes: networks and sliding windows.

`check` answers the files without a network: weights of windows and levels, the loss, the way of a volume to the network
and back, and the names of classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omlab.errors import UsageError
from omlab_kernels import dice_cross_entropy
from omlab_stunet.labels import class_names, downstream, downstream_names, organ_classes
from omlab_stunet.network import StuNet, StuNetConfig, untrained
from omlab_stunet.plan import PUBLISHED_PLAN, fill_poolings
from omlab_testkit.expected import Answer, among, answer_parts, difference
from omlab_testkit.golden import draw_inputs, recorded
from omlab_train.losses import deep_supervision_weights, shrink_labels
from omlab_train.schedules import poly
from omlab_volume.inference.export import labels_from_scores
from omlab_volume.inference.preprocess import prepare
from omlab_volume.inference.resample import resample
from omlab_volume.inference.sliding_window import predict_scores
from omlab_volume.inference.windows import gaussian_importance, window_starts
from omlab_volume.volume import Volume

Case = Mapping[str, Any]


def build(case: dict[str, Any]) -> StuNet:
    """The network with the case's hyper-parameters, untrained, in eval mode; its kernels are 3x3x3 in every plan."""
    shape = case["build"]
    config = StuNetConfig(
        depth=tuple(shape["depth"]),
        dims=tuple(shape["dims"]),
        in_channels=shape["in_channels"],
        num_classes=shape["num_classes"],
        poolings=fill_poolings(shape["pool_op_kernel_sizes"], count=len(shape["dims"]) - 1),
    )
    return untrained(config)


def run(module: StuNet, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a whole-image case, or of a sliding-window case (an image without a batch axis)."""
    with torch.inference_mode():
        if inputs["image"].ndim == 4:
            return _sliding_window(module, case, inputs["image"])
        with recorded(_parts(module)) as outputs:
            levels = module(inputs["image"], deep_supervision=True)
        outputs |= {"logits": levels[0], "probabilities": levels[0].softmax(dim=1)}
        outputs |= {f"deep{level}": levels[level] for level in range(1, len(levels))}
        assert torch.equal(module(inputs["image"]), levels[0])  # the heads left out at inference change nothing
        return outputs


def _parts(module: StuNet) -> dict[str, nn.Module]:
    """The parts of the network, by the cases' names for what they give."""
    parts: dict[str, nn.Module] = {"stage0.block0.conv1": module.get_submodule("conv_blocks_context.0.0.conv1")}
    parts |= {f"encoder{n}": stage for n, stage in enumerate(module.conv_blocks_context)}
    parts |= {f"upsample{n}": layer for n, layer in enumerate(module.upsample_layers)}
    return parts | {f"decoder{n}": stage for n, stage in enumerate(module.conv_blocks_localization)}


def _sliding_window(module: StuNet, case: dict[str, Any], image: Tensor) -> dict[str, Tensor]:
    """Only the mirrorings that the case asks for: with them it takes eight times as long."""
    patch, classes = case["build"]["patch_size"], module.config.num_classes
    outputs: dict[str, Tensor] = {}
    for name, mirror in (("no_tta", False), ("tta", True)):
        if any(wanted.endswith(f"s_{name}") for wanted in case["outputs"]):
            scores = predict_scores(module, image, patch_size=patch, classes=classes, mirror=mirror)
            outputs |= {f"probabilities_{name}": scores, f"labels_{name}": scores.argmax(dim=0)}
    return outputs


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "gaussian_importance": _importance,
        "sliding_window_starts": _starts,
        "deep_supervision_weights": _level_weights,
        "poly_lr": _rates,
        "loss": _losses,
        "target_downsampling": _shrunk,
        "preprocess": _prepared,
        "totalsegmentator_105": _names,
        "abdomen_atlas_mini_10": _names,
        "direct_inference": _downstream,
    }
    return answer_parts(case, answers, about={"reference", "inputs_note", "note", "rtol"})


def _importance(part: Case, case: Case) -> float:
    far = []
    for row in part.values():
        patch = row["patch"]
        weights = gaussian_importance(patch).double().numpy()
        found = {
            "min": weights.min(),
            "max": weights.max(),
            "sum": weights.sum(),
            "axis0_centre_line": weights[:, patch[1] // 2, patch[2] // 2],
            "value": weights.ravel()[row["index"]],
        }
        far.append(among(found, row, about={"patch", "index"}))
    return max(far)


def _starts(part: list[Case], case: Case) -> float:
    found = [
        [window_starts(size, patch, row["step"]) for size, patch in zip(row["image"], row["patch"], strict=True)]
        for row in part
    ]
    return max(difference(starts, row["starts"]) for starts, row in zip(found, part, strict=True))


def _level_weights(part: Case, case: Case) -> float:
    return difference({levels: deep_supervision_weights(int(levels)) for levels in part}, part)


def _rates(part: list[Case], case: Case) -> float:
    found = [row["initial"] * poly(row["epoch"], steps=row["max_epochs"]) for row in part]
    return max(difference(rate, row["value"]) for rate, row in zip(found, part, strict=True))


def _losses(part: Case, case: Case) -> float:
    drawn = draw_inputs({"inputs": part["draw"]})
    levels = [(2 * drawn[f"logits{n}"], drawn[f"target{n}"][:, 0]) for n in range(len(drawn) // 2)]
    found = {name: _loss(levels, batch_dice=name == "batch_dice") for name in ("batch_dice", "sample_dice")}
    return max(among(found, part["expected"]), among({"expected": 0}, part, about={"expected", "draw", "note"}))


def _loss(levels: list[tuple[Tensor, Tensor]], *, batch_dice: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"form": "nnunet-v1", "background": False, "batch_dice": batch_dice}
    first = levels[0][0].clone().requires_grad_()
    logits = [first, *(level for level, _ in levels[1:])]
    per_level = [dice_cross_entropy(z, target, **options) for z, (_, target) in zip(logits, levels, strict=True)]
    weighted = zip(deep_supervision_weights(len(levels)), per_level, strict=True)
    total = torch.stack([weight * loss for weight, loss in weighted]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert first.grad is not None
    return {
        "dice": dice_cross_entropy(*levels[0], ce=0, **options).item(),
        "ce": dice_cross_entropy(*levels[0], dice=0, **options).item(),
        "level0": per_level[0].item(),
        "per_level": [loss.item() for loss in per_level],
        "total": total.item(),
        "grad_level0_norm": first.grad.norm().item(),
        "grad_level0_first8": first.grad.flatten()[:8].tolist(),
    }


def _shrunk(part: Case, case: Case) -> float:
    """The first scale is the label map itself, which is not recorded."""
    labels = draw_inputs({"inputs": part["draw"]})["seg"][:, 0]
    found = []
    for scales in part["scales"][1:]:
        shape = [round(size * scale) for size, scale in zip(labels.shape[1:], scales, strict=True)]
        found.append(shrink_labels(labels, shape=shape)[:, None])
    return among({"expected": found}, part, about={"draw", "scales", "note"})


def _prepared(part: list[Case], case: Case) -> float:
    return max(_there_and_back(row) for row in part)


def _there_and_back(row: Case) -> float:
    prepared = prepare(_volume(row), PUBLISHED_PLAN)
    value = torch.from_numpy(prepared.array[0])
    scores = torch.softmax(torch.stack([value, -value, 0.5 * torch.cos(value)]), dim=0)
    back = [resample(one, prepared.cropped_shape, order=1, separate=prepared.separate) for one in scores.numpy()]
    labels = labels_from_scores(scores, prepared.cropped_shape, separate=prepared.separate)
    found = {
        "crop_bbox": [list(bounds) for bounds in prepared.box],
        "separate_z": prepared.separate is not None,
        "resampled_shape": list(prepared.array.shape),
    }
    labelled = difference(np.bincount(labels.ravel(), minlength=3), row["export"]["label_counts"])
    return max(
        among(found, row, about={"name", "draw", "spacing", "note", "normalised", "export"}),
        _described(prepared.array, row["normalised"]),
        _described(np.stack(back), row["export"]["resampled"]),
        labelled,
    )


def _volume(row: Case) -> Volume:
    """The drawn (C, z, y, x) array with the slabs zeroed that its note names, such as '[:2] of axis 1'."""
    ((_, drawn),) = draw_inputs({"inputs": row["draw"]}).items()
    array = drawn.numpy()
    for start, stop, axis in re.findall(r"\[(-?\d*):(-?\d*)\] of axis (\d)", row["note"]):
        slab = slice(int(start) if start else None, int(stop) if stop else None)
        np.moveaxis(array, int(axis) + 1, 0)[slab] = 0
    return Volume(array=array.transpose(0, 3, 2, 1), affine=np.diag([*row["spacing"][::-1], 1]))


def _described(array: NDArray[Any], expected: Case) -> float:
    """Entries, mean and spread as `golden.py` records them: all in standard deviations of the array."""
    flat = np.asarray(array, np.float64).ravel()
    if list(array.shape) != expected["shape"]:
        return 1.0
    pairs = [(flat.mean(), expected["mean"]), (flat.std(), expected["std"])]
    pairs += [(np.abs(flat).max(), expected["absmax"]), *zip(flat[expected["index"]], expected["value"], strict=True)]
    return float(max(abs(float(ours) - theirs) for ours, theirs in pairs) / expected["std"])


def _names(part: list[str], case: Case) -> float:
    return difference(class_names(len(part)), part)


def _downstream(part: Case, case: Case) -> float:
    """Organs that upstream's table lacks stand for themselves here; those that it has are compared."""
    found = {
        "datasets": {
            name: {",".join(map(str, region.values)): region.organ for region in downstream(name)}
            for name in downstream_names()
        },
        "organ_to_classes": {organ: _classes(organ) for organ in part.get("organ_to_classes", {})},
    }
    return among(found, part, about={"note"})


def _classes(organ: str) -> list[str]:
    try:
        return list(organ_classes(organ))
    except UsageError:
        return []

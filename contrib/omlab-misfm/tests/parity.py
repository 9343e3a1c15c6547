"""How this package answers golden cases: both networks of any widths, modes and sizes.

`check` answers the file without a network: Volume Fusion from recorded draws, losses, normalisation, rates and windows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_kernels import volume_fusion, volume_fusion_boxes, volume_fusion_shuffled
from omlab_misfm.fmunet import Fmunet, FmunetConfig, untrained_fmunet
from omlab_misfm.fusion import draw_blocks, draw_boxes, draw_shuffled_blocks
from omlab_misfm.losses import Match, deep_supervision_loss, dice_cross_entropy
from omlab_misfm.normalise import scaled, z_normalised
from omlab_misfm.patches import two_patches
from omlab_misfm.pctnet import Pctnet, PctnetConfig, untrained_pctnet
from omlab_misfm.windows import mean_of_flips, tiling
from omlab_testkit.expected import Answer, among, answer_parts, difference
from omlab_testkit.golden import draw_inputs, recorded
from omlab_train.schedules import poly
from omlab_volume.inference.sliding_window import predict_scores

Case = Mapping[str, Any]


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode; which one, its build tells."""
    shape = case["build"]
    common: dict[str, Any] = {
        "in_channels": shape["in_chns"],
        "num_classes": shape["class_num"],
        "widths": tuple(shape["feature_chns"]),
    }
    if "depth" in shape:
        return untrained_fmunet(
            FmunetConfig(
                depth=shape["depth"], resolution_mode=shape["res_mode"], dropout=shape.get("dropout", 0.2), **common
            )
        )
    config = PctnetConfig(
        input_size=tuple(shape["input_size"]),
        dropout=tuple(shape["dropout"]),
        resolution_mode=shape["resolution_mode"],
        depths=tuple(shape["depths"]),
        heads=tuple(shape["num_heads"]),
        windows=tuple(shape["window_sizes"]),
        **common,
    )
    return untrained_pctnet(config)


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The logits of all levels and what the parts give, by the case's names for them."""
    parts, levels = (
        (_fmunet_parts(module), "logits_level{}")
        if isinstance(module, Fmunet)
        else (_pctnet_parts(module), "logits_{}")
    )
    with torch.inference_mode(), recorded(parts) as outputs:
        found = module(inputs["image"], deep_supervision=True)
        alone = module(inputs["image"])
    assert torch.allclose(alone, found[0], atol=1e-6)  # the heads left out at inference change nothing
    named = [levels.format(n if isinstance(module, Fmunet) else 2**n) for n in range(1, len(found))]
    return {**outputs, "logits": found[0], **dict(zip(named, found[1:], strict=True))}


def _fmunet_parts(module: Fmunet) -> dict[str, nn.Module]:
    parts: dict[str, nn.Module] = {"project": module.project}
    parts |= {f"encoder{n}": module.encoder.get_submodule(f"en_conv{n}") for n in range(5)}
    parts |= {f"decoder{n}": module.decoder.get_submodule(f"de_conv{n}") for n in range(5)}
    parts |= {f"encoder.down{n}": module.encoder.get_submodule(f"down{n}") for n in range(4)}
    return parts | {f"decoder.upcat{n}.up": module.decoder.get_submodule(f"upcat{n}.up") for n in range(4)}


def _pctnet_parts(module: nn.Module) -> dict[str, nn.Module]:
    assert isinstance(module, Pctnet)
    mode = module.config.resolution_mode
    embedding, head = module.embeddings[mode], module.pred_heads[mode]
    parts = {"embed.proj": "proj", "embed.x0": "conv0", "embed.x1": "conv1", "embed.x2": "down2"}
    found = {name: embedding.get_submodule(path) for name, path in parts.items()}
    found |= {f"head.{name}": head.get_submodule(name) for name in ("up2", "conv1", "up1", "conv0")}
    for level in ("e2", "e3", "e4", "d3", "d2"):
        part = module.pyramid_ct.get_submodule(f"convtrans_{level}")
        found |= {f"convtrans_{level}": part, f"convtrans_{level}.conv": part.get_submodule("conv")}
        blocks = part.get_submodule("trans.blocks").named_children()
        found |= {f"convtrans_{level}.block{number}": block for number, block in blocks}
    return found


class Recorded:
    """Random numbers as they were recorded (`omlab_misfm.draws.Draws`); another call than the recorded one fails."""

    def __init__(self, rows: Iterable[Sequence[Any]]) -> None:
        self.rows = iter(rows)

    def _next(self, name: str, *arguments: float) -> Any:
        function, expected, value = next(self.rows)
        if (function, list(expected)) != (name, list(arguments)):
            raise AssertionError(f"{name}{arguments} was drawn where {function}{tuple(expected)} was recorded.")
        return value

    def random(self) -> float:
        return float(self._next("random"))

    def uniform(self, a: float, b: float) -> float:
        return float(self._next("uniform", a, b))

    def randint(self, a: int, b: int) -> int:
        return int(self._next("randint", a, b))

    def shuffle(self, x: list[Any]) -> None:
        x[:] = self._next("shuffle", len(x))


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "volume_fusion": _fusions,
        "volume_fusion_shuffle": _shuffled,
        "volume_fusion_batch": _batch,
        "crop_for_fusion": _crops,
        "loss": _losses,
        "normalise": _normalised,
        "polynomial_lr": _rates,
        "sliding_window": _windows,
    }
    return answer_parts(case, answers, about={"reference", "inputs_note", "tolerance", "note", "rtol"})


def tolerance(part: str, case: dict[str, Any]) -> float:
    """Recorded values are rounded to six places."""
    return float(case.get("tolerance", 2e-5))


def _drawn(part: Case) -> dict[str, Tensor]:
    return draw_inputs({"inputs": part["draw"]})


def _fused(found: tuple[Tensor, Tensor], part: Case) -> float:
    fused, labels = found
    flat = {"fused": fused.flatten(), "label": labels.flatten()}
    shape = difference([1, *labels.shape], part["label_shape"]) if "label_shape" in part else 0.0
    return max(shape, *(difference(values, part[name]) for name, values in flat.items()))


def _ranges(part: Case) -> dict[str, Any]:
    return {
        "smallest": part["patch_min"],
        "largest": part["patch_max"],
        "classes": part["class_num"],
        "foreground": part["foreground_ratio"],
    }


def _fusions(part: Case, case: Case) -> float:
    drawn = _drawn(part)
    return max(_fusion(drawn, row) for row in part["cases"])


def _fusion(drawn: Mapping[str, Tensor], row: Case) -> float:
    blocks = draw_blocks(drawn["fg"].shape[1:], Recorded(row["draws"]), **_ranges(row))
    found = volume_fusion(
        drawn["fg"], drawn["bg"], blocks.classes, block=blocks.block, offset=blocks.offset, count=row["class_num"] - 1
    )
    return _fused(found, row)


def _shuffled(part: Case, case: Case) -> float:
    drawn = _drawn(part)
    blocks = draw_shuffled_blocks(drawn["fg"].shape[1:], Recorded(part["draws"]), **_ranges(part))
    assert blocks.sources is not None
    found = volume_fusion_shuffled(
        drawn["fg"],
        drawn["bg"],
        blocks.classes,
        blocks.sources,
        block=blocks.block,
        offset=blocks.offset,
        count=part["class_num"] - 1,
    )
    return _fused(found, part)


def _batch(part: Case, case: Case) -> float:
    batch, draws = _drawn(part)["batch"], Recorded(part["draws"])
    found = []
    for first, second in zip(batch.roll(1, 0), batch, strict=True):
        boxes = draw_boxes(
            second.shape[1:],
            draws,
            count=tuple(part["block_range"]),
            smallest=part["size_min"],
            largest=part["size_max"],
            classes=part["fg_num"] + 1,
        )
        found.append(volume_fusion_boxes(first, second, boxes, count=part["fg_num"]))
    fused, labels = (torch.stack(one) for one in zip(*found, strict=True))
    return _fused((fused, labels), part)


def _crops(part: Case, case: Case) -> float:
    volume = _drawn(part)["volume"].numpy()
    far = []
    for row in part["cases"]:
        patches = two_patches(
            volume,
            Recorded(row["draws"]),
            size=row["output_size"],
            lower=row["scale_lower"],
            upper=row["scale_upper"],
            spatial=row["mode"] >= 2,
            intensity=row["mode"] % 2 == 1,
        )
        far += [difference(list(patch.shape), row["shape"]) for patch in patches]
        far += [difference(patch.ravel(), row[f"patch{n}"]) for n, patch in enumerate(patches, start=1)]
    return max(far)


def _losses(part: Case, case: Case) -> float:
    drawn = _drawn(part)
    labels = drawn.pop("target")
    levels = [2 * drawn[f"pred{n}"] for n in range(len(drawn))]
    weights = torch.tensor([float(w) for w in re.findall(r"class_weight \[([\d., ]+)\]", part["note"])[0].split(",")])
    first = levels[0]
    found = {
        "dice": dice_cross_entropy(first, labels, dice=1, ce=0),
        "ce": dice_cross_entropy(first, labels, dice=0, ce=1),
        "combined": dice_cross_entropy(first, labels),
        "dice_class_weighted": dice_cross_entropy(first, labels, dice=1, ce=0, class_weights=weights),
        "ce_class_weighted": dice_cross_entropy(first, labels, dice=0, ce=1, class_weights=weights),
    }
    modes: tuple[Match, ...] = ("enlarge", "interpolate", "pool")
    found |= {
        f"deep_supervised_mode{n}": deep_supervision_loss(levels, labels, match=mode) for n, mode in enumerate(modes)
    }
    return among({name: value.item() for name, value in found.items()}, part["expected"])


def _normalised(part: Case, case: Case) -> float:
    image = _drawn(part)["image"].numpy()
    found = {"mean_std": z_normalised(image), "min_max": scaled(image, low=-1000, high=1000)}
    return max(difference(found[name].ravel()[: len(row)], row) for name, row in part["expected"].items())


def _rates(part: Case, case: Case) -> float:
    """The rate of each validation period; the last row is after the last step."""
    rates = [
        part["initial"]
        * poly(min(n * part["iter_valid"], part["iter_max"]), steps=part["iter_max"], power=part["power"])
        for n in range(len(part["per_validation_period"]))
    ]
    return difference(rates, part["per_validation_period"])


def _windows(part: Case, case: Case) -> float:
    drawn = _drawn(part)
    image, weight = drawn["image"][0], drawn["weight"]
    window = [min(one, size) for one, size in zip(part["window"], image.shape[1:], strict=True)]
    stride = [min(one, size) for one, size in zip(part["stride"], window, strict=True)]

    def scores(one: Tensor) -> Tensor:
        return predict_scores(
            lambda windows: functional.conv3d(windows, weight, padding=weight.shape[-1] // 2),
            one,
            patch_size=window,
            classes=len(weight),
            mirror=False,
            combine="logits",
            tiling=tiling(stride=stride),
        )

    return max(
        _described(scores(image)[None], part["logits"]),
        _described(mean_of_flips(scores, image)[None], part["logits_flip"]),
    )


def _described(found: Tensor, expected: Case) -> float:
    """Entries, mean and spread as `golden.py` records them: all in standard deviations of the output."""
    flat = found.double().flatten()
    if list(found.shape) != expected["shape"]:
        return 1.0
    pairs = [(flat.mean(), expected["mean"]), (flat.std(correction=0), expected["std"])]
    pairs += [(flat.abs().max(), expected["absmax"])]
    pairs += list(zip(flat[expected["index"]], expected["value"], strict=True))
    return float(max(abs(float(ours) - theirs) for ours, theirs in pairs) / expected["std"])

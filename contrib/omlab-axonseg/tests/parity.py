"""How this package answers golden cases of any sizes, widths, poolings and constraints, and files without a network."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from omlab_axonseg import axial_unet
from omlab_axonseg.annotation import centre_lines, contrast_response, fine_label, without_specks
from omlab_axonseg.augment import cut_mix, match_histogram, weaken_contrast
from omlab_axonseg.axial_unet import AxialUNet, UNetConfig
from omlab_axonseg.cea_net import CeaNet
from omlab_axonseg.metrics import pooled, score, soft_skeleton
from omlab_axonseg.registration.cascade import Cascade, CascadeConfig
from omlab_axonseg.registration.losses import local_correlation, mutual_information, overlap, soft_dice
from omlab_axonseg.registration.networks import MatrixNet
from omlab_axonseg.residual_unet import ResidualUNet
from omlab_axonseg.tiling import Tiling
from omlab_testkit.expected import Answer, answer_parts, difference
from omlab_testkit.golden import draw_inputs, recorded, uniform

Case = Mapping[str, Any]


def build(case: dict[str, Any]) -> nn.Module:
    """The network that the case names by its hyper-parameters, untrained, in eval mode."""
    shape = case["build"]
    if "constraints" in shape:
        return Cascade(_cascade(shape)).eval()
    if "base_n_filter" in shape:
        names = ("in_channels", "n_classes", "base_n_filter")
        return ResidualUNet(**{name: shape[name] for name in names if name in shape}).eval()
    if "base_features" in shape:
        return axial_unet.untrained(_unet(shape))
    return CeaNet(num_classes=shape["num_classes"], num_channels=shape.get("num_channels", 1)).eval()


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs that the case names."""
    if isinstance(module, Cascade):
        return _registered(module, inputs)
    with torch.inference_mode():
        with recorded(_parts(module)) as outputs:
            if isinstance(module, AxialUNet):
                levels = module(inputs["image"], deep_supervision=True)
                outputs |= {"logits": levels[0]} | {f"deep{n}": levels[n] for n in range(1, len(levels))}
                return {name: one.movedim(-1, 1) if ".axis" in name else one for name, one in outputs.items()}
            outputs["logits"] = module(inputs["image"])
        return outputs


def _unet(shape: Case) -> UNetConfig:
    return UNetConfig(
        in_channels=shape["in_channels"],
        num_classes=shape["num_classes"],
        base_features=shape["base_features"],
        max_features=shape["max_features"],
        poolings=tuple(tuple(pooling) for pooling in shape["pool_op_kernel_sizes"]),
        convs=shape["convs_per_stage"],
        attention=shape["axial_attention"],
        heads=shape["heads"],
        head_size=shape["dim_heads"],
        volume=tuple(shape["volume_shape"]),
        no_attention=tuple(shape["no_attention"]),
    )


def _cascade(shape: Case) -> CascadeConfig:
    return CascadeConfig(
        constraints=tuple(shape["constraints"]),
        affine_fusion=shape["affine_fusion"],
        nonrigid_fusion=shape["nonrigid_fusion"],
        rigid=shape["rigid"],
        box_filter=shape["box_filter"],
        max_delta=shape["max_delta"],
        scale=shape.get("scale", 1),
    )


def _registered(module: Cascade, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The steps' outputs, with matrices by PyTorch's own convolutions.

    Fusion asks whether an interpolated 0 or 1 is above 0, so that the last bit of a matrix decides at a few voxels:
    oneDNN's other order of sums moves some of them.
    """
    sides = {
        side: {name: inputs[f"{side}_{name}"].float() for name in module.config.constraints} for side in ("fix", "mov")
    }
    before = torch.backends.mkldnn.enabled
    handles = []
    for network in module.modules():
        if isinstance(network, MatrixNet):
            handles.append(network.register_forward_pre_hook(lambda *_: _use_onednn(on=False)))
            handles.append(network.register_forward_hook(lambda *_: _use_onednn(on=before)))
    try:
        with torch.inference_mode():
            steps = module(sides["fix"], sides["mov"], with_raw=True)
    finally:
        _use_onednn(on=before)
        for handle in handles:
            handle.remove()
    outputs: dict[str, Tensor] = {}
    for number, step in enumerate(steps):
        if step.matrix is not None:
            outputs[f"matrix{number}"] = step.matrix
        if step.displacement is not None:
            outputs["displacement"] = step.displacement
        outputs |= {f"{step.name}.registered_{name}": one for name, one in step.warped.items()}
        outputs |= {f"{step.name}.registered_{name}_raw": one for name, one in step.raw.items()}
    return outputs


def _use_onednn(*, on: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of flags for hardware that is not there
        torch.backends.mkldnn.set_flags(on)  # type: ignore[no-untyped-call]


def _parts(module: nn.Module) -> dict[str, nn.Module]:
    """The parts whose outputs cases name, by their names there."""
    if isinstance(module, AxialUNet):
        parts = {f"encoder{n}": one for n, one in enumerate(module.conv_blocks_context)}
        parts |= {f"transposed{n}": one for n, one in enumerate(module.tu)}
        parts |= {f"position{n}": one for n, one in module.axial_embedding.items()}
        for n, attention in module.axial_attention.items():
            parts |= {f"attention{n}": attention}
            parts |= {f"attention{n}.axis{axis}": one for axis, one in enumerate(attention.axial_attentions)}
        return parts | {f"decoder{n}": one for n, one in enumerate(module.conv_blocks_localization)}
    if isinstance(module, ResidualUNet):
        names = {"level5": "norm_lrelu_conv_c5", "l0": "norm_lrelu_upscale_conv_norm_lrelu_l0"}
        names |= {f"l{level}": f"conv_norm_lrelu_l{level}" for level in range(1, 5)}
        return {name: module.get_submodule(part) for name, part in names.items()}
    if isinstance(module, CeaNet):
        names = {"dac": "dblock", "attention": "att", "spp": "spp", "firstconv": "firstconv"}
        names |= {f"{part}{n}": f"{part}{n}" for part in ("encoder", "decoder") for n in range(1, 5)}
        return {name: module.get_submodule(part) for name, part in names.items()}
    return {}


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "metrics": _metrics,
        "contrast_weakening": _weakened,
        "histogram_matching": _matched,
        "cutmix": _mixed,
        "rough_label_response": _response,
        "fine_label": _fine,
        "whole_brain_tiling": _tiled,
        "registration_losses": _losses,
    }
    return answer_parts(case, answers, about={"reference", "inputs_note", "rtol"})


def tolerance(part: str, case: Case) -> float:
    """Grey levels of the tiling may differ by one, as its note says, of a spread of some fifteen."""
    return 0.1 if part == "whole_brain_tiling" else float(case.get("rtol", 1e-4))


def _drawn(part: Case) -> dict[str, NDArray[Any]]:
    return {name: one.numpy() for name, one in draw_inputs({"inputs": part["draw"]}).items()}


def _mask(part: Case, name: str) -> NDArray[np.bool_]:
    mask = np.zeros(part["shape"], bool)
    mask.reshape(-1)[part[name]] = True
    return mask


def _voxels(mask: NDArray[Any]) -> list[int]:
    return [int(voxel) for voxel in np.flatnonzero(mask)]


def _described(array: NDArray[Any], expected: Case) -> float:
    """Entries, mean and spread as `golden.py` records them: all in standard deviations of the array."""
    flat = np.asarray(array, np.float64).reshape(-1)
    if list(array.shape) != expected["shape"]:
        return 1.0
    pairs = [(flat.mean(), expected["mean"]), (flat.std(), expected["std"])]
    pairs += [(np.abs(flat).max(), expected["absmax"]), *zip(flat[expected["index"]], expected["value"], strict=True)]
    return float(max(abs(float(ours) - theirs) for ours, theirs in pairs) / expected["std"])


def _metrics(part: Case, case: Case) -> float:
    label, prediction = _mask(part, "label"), _mask(part, "prediction")
    found = {}
    for name in part["expected"]:
        window = int(name.removeprefix("pool"))
        scores = score(pooled(label, window=window), pooled(prediction, window=window))
        found[name] = {
            "iou": scores.iou,
            "t_iou": scores.tolerant_iou,
            "dice": scores.dice,
            "junk_ratio": 0.0,
            "centreline_recall": scores.centreline_recall,
            "centreline_precision": scores.centreline_precision,
            "recall": scores.recall,
            "precision": scores.precision,
            "cldice": scores.cldice,
        }
    line = soft_skeleton(torch.from_numpy(label.astype(np.float32))[None, None])[0, 0].numpy()
    noise = soft_skeleton(torch.from_numpy(_drawn(part)["noise"])[None, None])[0, 0].numpy()
    return max(
        difference(found, part["expected"]),
        difference(_voxels(line), part["soft_skeleton_of_label"]),
        _described(noise, part["soft_skeleton_of_noise"]),
    )


def _weakened(part: Case, case: Case) -> float:
    cube = _drawn(part)["cube"]
    weak = weaken_contrast(cube, part["centres"], radius=part["radius"], sigma=part["sigma"], published=True)
    return max(_described(weak, part["expected"]), difference(int((weak != cube).sum()), part["changed"]))


def _matched(part: Case, case: Case) -> float:
    drawn = _drawn(part)
    return difference(
        match_histogram(drawn["src"], drawn["ref"]).reshape(-1)[: len(part["expected"])], part["expected"]
    )


def _mixed(part: Case, case: Case) -> float:
    drawn = _drawn(part)
    cube, _ = cut_mix(drawn["cube"], np.ones_like(drawn["cube"]), drawn["artefact"], size=part["size"])
    return _described(cube, part["expected"])


def _response(part: Case, case: Case) -> float:
    return difference(contrast_response(_drawn(part)["stack"]).reshape(-1), part["expected"])


def _fine(part: Case, case: Case) -> float:
    kept = without_specks(_mask(part, "rough"))
    found = {"kept": kept, "skeleton": centre_lines(kept), "fine": fine_label(_mask(part, "rough"))}
    return max(difference(_voxels(mask), part[name]) for name, mask in found.items())


def _tiled(part: Case, case: Case) -> float:
    """The stand-in network of the note; `shape` is that of the result."""
    brain = _drawn(part)["brain"]
    (x0, y0, z0), (x1, y1, z1) = part["start_xyz"], part["end_xyz"]
    region = (slice(z0, z1), slice(y0, y1), slice(x0, x1))

    def network(image: Tensor) -> Tensor:
        mean = functional.avg_pool3d(image, 3, stride=1, padding=1)
        return torch.cat([torch.zeros_like(mean), mean], dim=1)

    tiling = Tiling(window=part["input_dim"], overlap=part["overlap"], normalise="last-slice")
    found = np.zeros(part["shape"], np.uint8)
    places = tiling.places(found.shape)
    rows = tiling.rows(network, lambda *box: brain[box], shape=brain.shape, region=region)
    for place, row in zip(places, rows, strict=True):
        found[place] = row
    starts = sorted({place[0].start for place in places})
    names = [f"{z0 + n:04d}.tiff" for n in (0, len(found) - 1)]
    return max(
        difference(starts, part["slab_starts"]),
        difference(names, part["slice_names"]),
        _described(found, part["expected"]),
    )


def _losses(part: Case, case: Case) -> float:
    drawn = draw_inputs({"inputs": part["draw"]})
    fixed = drawn["fix"]
    registered = 0.6 * fixed + 0.4 * drawn["reg"]
    bins, voxels = _named_numbers(part["note"])
    draws = uniform(voxels, salt=part["salt"], name="mi-index")
    places = torch.from_numpy(np.floor(draws * (fixed.numel() - 1)).astype(np.int64))
    found = {
        "cc_window4": local_correlation(fixed, registered).item(),
        "mutual_information": mutual_information(
            fixed.reshape(-1)[places], registered.reshape(-1)[places], bins=bins
        ).item(),
        "dice": soft_dice(fixed, registered).item(),
        "metric_dice_threshold_0_2": overlap(fixed, registered, threshold=0.2)["dice"],
        "metric_iou": overlap(fixed, registered, threshold=0.5)["iou"],
    }
    return difference(found, part["expected"])


def _named_numbers(note: str) -> tuple[int, int]:
    """Bins and voxels of the mutual information, as in 'with 8 bins (40 in use) on 500 voxels'."""
    found = re.search(r"with (\d+) bins .*? on (\d+) voxels", note)
    return (int(found[1]), int(found[2])) if found else (8, 500)

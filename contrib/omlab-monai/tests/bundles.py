"""Bundles as published ones are written, with drawn weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

UNET = {
    "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2],
    "num_res_units": 1, "norm": "batch",
}  # fmt: skip
LOAD = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureChannelFirstd", "keys": "image"}]
INVERT = {
    "_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image",
    "nearest_interp": False, "to_tensor": True,
}  # fmt: skip
SAVE = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "output_dtype": "$numpy.float32"}


def composed(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": list(transforms)}


def spleen() -> dict[str, Any]:
    """Probabilities are taken back to the image before the class is chosen."""
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": UNET,
        "network": "$@network_def.to(@device)",
        "preprocessing": composed(
            *LOAD,
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1,
             "clip": True},
            {"_target_": "EnsureTyped", "keys": "image"},
        ),
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 4, "overlap": 0.5},
        "postprocessing": composed(
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            INVERT,
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            SAVE,
        ),
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}],
    }  # fmt: skip


def whole_body() -> dict[str, Any]:
    """Choices by a flag, parts by `#`, the class chosen before it is taken back."""
    return {
        **spleen(),
        "displayable_configs": {"highres": False, "sw_overlap": 0.25},
        "image_key": "image",
        "pixdim": "$[1.5, 1.5, 1.5] if @displayable_configs#highres else [3.0, 3.0, 3.0]",
        "preprocessing": composed(
            {"_target_": "LoadImaged", "keys": "@image_key"},
            {"_target_": "EnsureTyped", "keys": "@image_key", "device": "@device"},
            {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
            {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "@image_key", "pixdim": "@pixdim", "mode": "bilinear"},
            {"_target_": "NormalizeIntensityd", "keys": "@image_key", "nonzero": True},
        ),
        "inferer": {
            "_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": "@displayable_configs#sw_overlap",
            "padding_mode": "replicate", "mode": "gaussian",
            "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        },
        "postprocessing": composed(
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {**INVERT, "nearest_interp": True},
            SAVE,
        ),
    }  # fmt: skip


def brats(*, labelled: bool = True) -> dict[str, Any]:
    """Four channels, three regions that overlap; a function makes labels of them, or nothing does."""
    function = "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))"
    return {
        **spleen(),
        "network_def": {"_target_": "SegResNet", "blocks_down": [1, 1], "blocks_up": [1], "init_filters": 8,
                        "in_channels": 4, "out_channels": 3, "dropout_prob": 0.2},
        "preprocessing": composed(
            LOAD[0], {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True}
        ),
        "postprocessing": composed(
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {**INVERT, "meta_keys": "pred_meta_dict"},
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
            *([{"_target_": "Lambdad", "keys": "pred", "func": function}] if labelled else []),
            SAVE,
        ),
    }  # fmt: skip


def write(folder: Path, config: dict[str, Any], *, names: dict[str, str] | None = None, channels: int = 1) -> Path:
    """The folder of a bundle, with weights as a trainer of MONAI's saves them."""
    from monai.bundle import ConfigParser

    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    channel_def = names or {"0": "background", "1": "spleen", "2": "tumour"}
    formats = {"inputs": {"image": {"num_channels": channels}}, "outputs": {"pred": {"channel_def": channel_def}}}
    (folder / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": formats}))
    torch.manual_seed(3)
    network = ConfigParser({"network_def": config["network_def"]}).get_parsed_content("network_def")
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.3)
    torch.save({"model": network.state_dict()}, folder / "models" / "model.pt")
    return folder

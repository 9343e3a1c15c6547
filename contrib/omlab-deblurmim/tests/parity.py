"""How this package answers golden cases of any size: autoencoders, classifiers, segmentation networks.

`check` answers the files without a network: blurs, figures of masks, groups of parameters, positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omlab_deblurmim.autoencoder import ConvMae, DecoderConfig, Mae
from omlab_deblurmim.blur import Blur, gaussian_taps
from omlab_deblurmim.convvit import ConvConfig, ConvVit
from omlab_deblurmim.losses import dice_loss
from omlab_deblurmim.metrics import batch_figures, image_figures
from omlab_deblurmim.segmentation import Segmenter, SegmenterConfig
from omlab_deblurmim.vit import Vit, VitConfig
from omlab_deblurmim.weights import layers_of, undecayed_of, with_published_buffers
from omlab_image.patches import draw_mask, sincos_table
from omlab_kernels import masked_patch_error
from omlab_testkit.expected import Answer, among, answer_parts, difference
from omlab_testkit.golden import recorded
from omlab_train.layers import layer_groups

Case = Mapping[str, Any]
GREY_LEVEL = 1.0
"""By how much OpenCV's fixed-point Gaussian may differ from the exact one."""


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode, with the buffers of published files."""
    return with_published_buffers(_network(case)).eval()


def _network(case: Case) -> nn.Module:
    shape = case["build"]
    keys = [row[0] for row in case["state"]]
    is_conv = any("patch_embed1." in key for key in keys)
    config = _conv_config(shape) if is_conv else _vit_config(shape)
    if any(key.startswith("segmentation_head.") for key in keys):
        form = "unet++" if any(".x_0_0." in key for key in keys) else "unet"
        widths, classes = tuple(shape["decoder_channels"]), shape["classes"]
        taken = tuple(shape.get("out_indices", (3, 5, 7, 11)))
        return Segmenter(
            SegmenterConfig(encoder=config, form=form, widths=widths, classes=classes, blocks=taken)  # type: ignore[arg-type]
        )
    if "decoder_pred.weight" in keys:
        ratio = _first(shape.get("mlp_ratio", 4))
        decoder = DecoderConfig(
            width=shape["decoder_embed_dim"],
            depth=shape["decoder_depth"],
            heads=shape["decoder_num_heads"],
            mlp_ratio=ratio,
        )
        return ConvMae(config, decoder=decoder) if isinstance(config, ConvConfig) else Mae(config, decoder=decoder)
    classes = shape["num_classes"]
    return ConvVit(config, classes=classes) if isinstance(config, ConvConfig) else Vit(config, classes=classes)


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, list) else value)


def _conv_config(shape: Case) -> ConvConfig:
    return ConvConfig(
        image_size=shape["img_size"][0],
        patches=tuple(shape["patch_size"]),
        widths=tuple(shape["embed_dim"]),
        depths=tuple(shape["depth"]),
        heads=shape["num_heads"],
        mlp_ratios=tuple(map(float, shape.get("mlp_ratio", (4, 4, 4)))),  # type: ignore[arg-type]  # three of them
        eps=shape.get("ln_eps", 1e-6),
        conv_eps=shape.get("cblock_ln_eps", 1e-5),
    )


def _vit_config(shape: Case) -> VitConfig:
    size = shape["img_size"]
    return VitConfig(
        image_size=size[0] if isinstance(size, list) else size,
        patch_size=shape.get("patch_size", 16),
        width=shape["embed_dim"],
        depth=shape["depth"],
        heads=shape["num_heads"],
        mlp_ratio=_first(shape.get("mlp_ratio", 4)),
        eps=shape.get("ln_eps", 1e-6),
    )


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every output that a case of these networks may name."""
    image = inputs["image"]
    with torch.inference_mode(), recorded(_parts(module)) as outputs:
        if isinstance(module, Mae | ConvMae):
            masking = draw_mask(inputs["noise"], ratio=case["build"]["mask_ratio"])
            latent = module.encode(image, masking)
            painted = module.decode(latent, masking)
            errors = [
                masked_patch_error(painted, inputs["sharp"], patch=module.patch, normalise=normalise)
                for normalise in (False, True)
            ]
            outputs |= {"latent": latent, "mask": masking.mask, "ids_restore": masking.restore, "pred": painted}
            return outputs | {"losses": torch.stack([*errors, torch.zeros(())])}
        if isinstance(module, Segmenter):
            maps = module.encoder(image)
            logits = module.segmentation_head(module.decoder(maps))
            outputs |= {f"feature{number}": one for number, one in enumerate(maps)}
            return outputs | {"logits": logits, "prob": logits.sigmoid()}
        assert isinstance(module, Vit | ConvVit)
        return outputs | {"logits": module(image), "features": module.features(image)}


def _parts(module: nn.Module) -> dict[str, nn.Module]:
    """The parts of a network by the cases' names for what they give."""
    parts: dict[str, nn.Module] = {}
    prefix = "enc_" if isinstance(module, Segmenter) else ""
    encoder = module.encoder if isinstance(module, Segmenter) else module
    modules = dict(encoder.named_modules())
    if "blocks3" in modules:
        for stage in (1, 2, 3):
            blocks = list(modules[f"blocks{stage}"].children())
            parts |= {f"{prefix}stage{stage}_block{number}": block for number, block in enumerate(blocks)}
            parts |= {f"{prefix}stage{stage}_last": blocks[-1], f"{prefix}stage{stage}": blocks[-1]}
        parts |= {f"patch_embed{number}": modules[f"patch_embed{number}"] for number in (1, 2, 3, 4)}
        parts |= {f"stage{n}_decode": modules[name] for n in (1, 2) if (name := f"stage{n}_output_decode") in modules}
    else:
        parts["patch_embed"] = modules["patch_embed"]
        blocks = list(modules["blocks"].children())
        parts |= {f"{name}block{number}": block for name in ("enc_", "") for number, block in enumerate(blocks)}
    if "decoder_blocks" in modules:
        painters = modules["decoder_blocks"].children()
        parts |= {f"dec_block{number}": block for number, block in enumerate(painters)}
    if isinstance(module, Segmenter):
        parts["decoder"] = module.decoder
    return parts


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "cases": _each(_blurs),
        "seg": _each(_masks),
        "layer_decay": _each(_groups),
        "sincos": _positions,
        "mask_expansion": _expansion,
    }
    answers |= {name: _taps(name) for name in case if name.startswith("kernel_sigma_")}
    return answer_parts(case, answers, about={"_doc", "reference", "notes", "note", "rtol"})


def _each(answer: Any) -> Answer:
    return lambda part, case: max(answer(row) for row in part)


def _taps(name: str) -> Answer:
    return lambda part, case: difference(gaussian_taps(float(name.rpartition("_")[2])), part)


def _blurs(row: Case) -> float:
    """By the names of the results, such as gaussian_sigma_1.1, mean_5x5, median_5, defocus_r5_alias0.01."""
    image = np.array(row["image"], dtype=np.uint8)
    far = [0.0]
    for name, expected in row.items():
        if name == "image" or isinstance(expected, str):  # words: upstream's own call of the median fails
            continue
        off = np.abs(_blur(name)(image).astype(int) - np.array(expected))
        if name.startswith("gaussian"):
            off = np.where(off <= GREY_LEVEL, 0, off)
        far.append(float(off.max() / np.std(expected)))
    return max(far)


def _blur(name: str) -> Blur:
    method, _, rest = name.partition("_")
    if method == "gaussian":
        return Blur(sigma=float(rest.removeprefix("sigma_")))
    if method == "mean":
        return Blur(method="mean", size=int(rest.partition("x")[0]))
    if method == "median":
        return Blur(method="median", size=int(rest))
    if method == "defocus":
        return Blur(method="defocus", radius=int(rest.partition("_")[0].removeprefix("r")))
    raise KeyError(name)


def _masks(row: Case) -> float:
    share, truth = np.array(row["prob"]), np.array(row["gt"])
    pooled = batch_figures(share, truth)
    loss = dice_loss(torch.from_numpy(share).float(), torch.from_numpy(truth).float())
    found = {
        "dice_loss": loss.item(),
        "batch_fscore": pooled["fscore"],
        "batch_iou": pooled["iou"],
        "per_image": [image_figures(one > 0.5, other) for one, other in zip(share, truth, strict=True)],
    }
    return among(found, row, about={"prob", "gt", "note"})


def _groups(row: Case) -> float:
    """The classifier of the case's build; its `norm` is `fc_norm` where features are the mean, as they are here."""
    shape = row["build"]
    network = ConvVit(_conv_config(shape), classes=shape["num_classes"])
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    pooled = any("fc_norm.weight" in group["params"] for group in row["groups"])
    groups = layer_groups(
        network,
        layers_of(network),
        lr=1.0,
        weight_decay=row["weight_decay"],
        decay=row["layer_decay"],
        undecayed=undecayed_of(network),
    )

    def called(name: str) -> str:
        return name if pooled else name.replace("fc_norm.", "norm.")

    found = [
        {
            "lr_scale": group["lr"],
            "weight_decay": group["weight_decay"],
            "params": sorted(called(names[id(parameter)]) for parameter in group["params"]),
        }
        for group in groups
    ]
    wanted = [{**group, "params": sorted(group["params"])} for group in row["groups"]]

    def by_rate(group: Case) -> tuple[float, float]:
        return group["lr_scale"], group["weight_decay"]

    return difference(sorted(found, key=by_rate), sorted(wanted, key=by_rate))


def _positions(part: Case, case: Case) -> float:
    table = sincos_table(part["embed_dim"], grid=part["grid"], prefix=int(part["cls_token"])).float().double()
    found = {"shape": list(table.shape), "sum": table.sum().item(), "value": table.flatten()[part["index"]]}
    return among(found, part, about={"embed_dim", "grid", "cls_token", "index", "note"})


def _expansion(part: str, case: Case) -> float:
    """A mask of tokens reaches the first two stages with each entry repeated: shown by what the blocks are given."""
    network = ConvMae(
        ConvConfig(image_size=32, widths=(4, 4, 8), depths=(1, 1, 1), heads=2),
        decoder=DecoderConfig(width=8, depth=1, heads=2),
    )
    mask = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    given: list[Tensor] = []
    for stage in (network.blocks1, network.blocks2):
        stage[0].register_forward_pre_hook(lambda _module, inputs: given.append(inputs[1]))
    with torch.inference_mode():
        network.stages(torch.zeros(1, 3, 32, 32), mask)
    stated = "repeated 4x4 and 2x2" in part
    times = (4, 2) if stated else (0, 0)
    return float(
        any(
            not torch.equal(1 - seen[0, 0], torch.kron(mask.view(2, 2), torch.ones(n, n)))
            for seen, n in zip(given, times, strict=True)
        )
    )

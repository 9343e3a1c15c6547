"""How this package answers golden cases of any size: the classifier, SegViT, UPerNet.

`check` answers the file without a network: masks, tables, the loss, rates, groups of parameters, figures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omlab_testkit.expected import Answer, among, answer_parts, difference
from omlab_testkit.golden import recorded, standard, uniform
from omlab_train.layers import layer_groups
from omlab_usfm.atm import NO_OBJECT_WEIGHT, AtmConfig, AtmOutput, resized
from omlab_usfm.encoder import Encoder, EncoderConfig
from omlab_usfm.losses import DICE_WEIGHT, FOCAL_ALPHA, FOCAL_GAMMA, IGNORED, MASK_WEIGHT, atm_loss
from omlab_usfm.masking import Bands, Blocks, band_stopped, mean_filled
from omlab_usfm.metrics import SMOOTH, foreground_figures
from omlab_usfm.rates import published_rate, scaled_rate
from omlab_usfm.segmentation import SegVit, UperNet
from omlab_usfm.tables import resize_table, source_distances
from omlab_usfm.upernet import FcnConfig, UperConfig
from omlab_usfm.weights import SHARED, encoder_of, fitted, layers_of, undecayed_of, with_published_buffers

Case = Mapping[str, Any]
Network = Encoder | SegVit | UperNet


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode, with the buffers of published files."""
    shape = case["build"]
    return with_published_buffers(_network(shape)).eval()


def _network(shape: Case) -> Network:
    if "decode_head" not in shape:
        return Encoder(_encoder_config(shape, eps=shape["ln_eps"]), classes=shape["num_classes"])
    backbone, head = shape["backbone"], shape["decode_head"]
    encoder = _encoder_config(backbone, eps=shape["ln_eps"])
    blocks = tuple(backbone["out_indices"])
    if head["type"] == "ATMHead":
        atm = AtmConfig(
            classes=head["num_classes"],
            in_channels=head["in_channels"],
            width=head["embed_dims"],
            heads=head["num_heads"],
            layers=head["num_layers"],
            stages=head["use_stages"],
        )
        return SegVit(encoder, atm, blocks=blocks)
    auxiliary = shape["auxiliary_head"]
    uper = UperConfig(
        classes=head["num_classes"],
        in_channels=tuple(head["in_channels"]),
        channels=head["channels"],
        pools=tuple(head["pool_scales"]),
    )
    fcn = FcnConfig(
        classes=auxiliary["num_classes"],
        in_channels=auxiliary["in_channels"],
        channels=auxiliary["channels"],
        convolutions=auxiliary["num_convs"],
        index=auxiliary["in_index"],
    )
    return UperNet(encoder, uper, fcn, blocks=blocks)


def _encoder_config(shape: Case, *, eps: float) -> EncoderConfig:
    """What a case leaves out is what upstream's classes have then: no biases, no layer scale."""
    return EncoderConfig(
        image_size=shape["img_size"],
        patch_size=shape.get("patch_size", 16),
        channels=shape.get("in_chans", 3),
        width=shape["embed_dim"],
        depth=shape["depth"],
        heads=shape["num_heads"],
        mlp_ratio=shape.get("mlp_ratio", 4),
        qv_bias=shape.get("qkv_bias", False),
        layer_scale=shape.get("init_values"),
        absolute_positions=shape.get("use_abs_pos_emb", False),
        block_tables=shape.get("use_rel_pos_bias", False),
        shared_table=shape.get("use_shared_rel_pos_bias", False),
        mean_pooling=shape.get("use_mean_pooling", True),
        eps=eps,
    )


def run(module: Network, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every output that a case of these networks may name."""
    encoder, image = encoder_of(module), inputs["image"]
    parts: dict[str, nn.Module] = {"patch_embed": encoder.patch_embed}
    for number, block in enumerate(encoder.blocks):
        parts |= {f"block{number}": block, f"attn{number}": block.get_submodule("attn")}
    if isinstance(module, SegVit):
        stages = range(1, module.decode_head.config.stages + 1)
        parts |= {f"proj_norm_{n}": module.decode_head.get_submodule(f"proj_norm_{n}") for n in stages}
        parts |= {f"decoder_{n}": module.decode_head.get_submodule(f"decoder_{n}") for n in stages}
    if isinstance(module, UperNet):
        head = module.decode_head
        parts |= {"psp_bottleneck": head.bottleneck, "fpn_bottleneck": head.fpn_bottleneck}
    with torch.inference_mode(), recorded(parts) as outputs:
        if isinstance(module, Encoder):
            outputs |= {"logits": module(image), "features": module.features(image)}
            return outputs
        maps = module.backbone(image)
        outputs |= {f"feature{number}": one for number, one in enumerate(maps)}
        if isinstance(module, UperNet):
            outputs |= {"logits": module.decode_head(maps), "aux_logits": module.auxiliary_head(maps)}
            return outputs
        return outputs | _atm_outputs(module.decode_head(maps, size=image.shape[2:]), outputs)


def _atm_outputs(found: AtmOutput, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By the cases' names; upstream has the queries before the batch between stages."""
    named = {"pred_logits": found.scores[-1], "pred_masks": found.masks[-1], "pred": found.semantic}
    for stage, (scores, masks) in enumerate(zip(found.scores[:-1], found.masks[:-1], strict=True)):
        named |= {f"aux{stage}_logits": scores, f"aux{stage}_masks": masks}
    return named | {name: one.transpose(0, 1) for name, one in outputs.items() if name.startswith("decoder_")}


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "frequency_mask": _each(_frequency_mask),
        "block_mask": _each(_block_mask),
        "relative_table_interpolation": _each(_tables),
        "atm_loss": _each(_atm_loss),
        "cosine_schedule": _each(_schedule),
        "layer_decay": _each(_groups),
        "lr_scaling": _scaling,
        "seg_metrics": _each(_figures),
    }
    return answer_parts(case, answers, about={"reference", "notes", "note", "rtol"})


def _each(answer: Any) -> Answer:
    return lambda part, case: max(answer(row) for row in part)


def _drawn_image(spec: Case) -> Tensor:
    """Uniform in [0, 1), float32."""
    values = uniform(int(np.prod(spec["shape"])), salt=spec["salt"], name=spec["name"]).astype(np.float32)
    return torch.from_numpy(values.reshape(spec["shape"]))


def _samples(values: Tensor | NDArray[Any], expected: Case, *, prefix: str = "") -> float:
    """Entries, mean and spread as recorded, in standard deviations."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    index = expected.get(f"{prefix}index", expected.get("index"))
    recorded = expected.get(f"{prefix}value", expected.get("value"))
    pairs = [(flat.mean(), expected["out_mean"]), (flat.std(), expected["out_std"])]
    pairs += list(zip(flat[index], recorded, strict=True))
    return float(max(abs(ours - theirs) for ours, theirs in pairs) / expected["out_std"])


def _frequency_mask(row: Case) -> float:
    size = row["size"]
    bands = Bands(
        size=size,
        protected=row["CenterProtect"],
        first=row["BaseBW"],
        growth=row["IncreaseFactor"],
        most=row["MaxIncrease"],
    )
    steps = np.arange(size) - size // 2
    distance = np.hypot(steps[:, None], steps)
    rings = [bands.without(one).numpy() for one in torch.eye(len(bands))]
    chosen = row["shuffled_order"][: int(row["Ratio"] * len(bands))]
    keep = bands.without(torch.isin(torch.arange(len(bands)), torch.tensor(chosen)))
    zeros = [distance[ring == 0] for ring in rings]
    found = {
        "bands": len(bands),
        "num_mask": len(chosen),
        "band_values": sorted({float(value) for ring in rings for value in np.unique(ring)}),
        "band_zero_min_max_distance_count": [[one.min(), one.max(), len(one)] for one in zeros],
        "combined_mask_zero_count": int((keep == 0).sum()),
        "combined_mask_row_zero_counts": (keep == 0).sum(dim=1),
        "combined_mask": None if row["combined_mask"] is None else keep.flatten(),
    }
    image = band_stopped(_drawn_image(row["image"]), keep)
    inputs = {"size", "Ratio", "IncreaseFactor", "MaxIncrease", "BaseBW", "CenterProtect", "shuffled_order", "image"}
    samples = {"out_mean", "out_std", "out_index", "out_value"}
    return max(_samples(image, row, prefix="out_"), among(found, row, about=inputs | samples | {"note"}))


def _block_mask(row: Case) -> float:
    blocks = Blocks(
        size=row["input_size"], block=row["mask_patch_size"], patch=row["model_patch_size"], share=row["mask_ratio"]
    )
    mask = blocks.mask(torch.tensor([row["permutation"]]))[0]
    image = _drawn_image(row["image"])
    filled = mean_filled(image, mask) if row["mask_color"] == "mean" else image  # the others change nothing upstream
    inputs = {"input_size", "mask_patch_size", "model_patch_size", "mask_ratio", "mask_color", "permutation", "image"}
    far = among({"mask_count": blocks.count, "mask": mask}, row, about=inputs | _SAMPLES | {"note"})
    return max(far, _samples(filled, row))


_SAMPLES = {"out_mean", "out_std", "index", "value"}


def _tables(row: Case) -> float:
    source, grid = row["source"], row["dst_grid"]
    scale = float(row["source"]["draw"].partition("*")[0])
    table = torch.from_numpy(scale * standard(source["shape"], salt=source["salt"], name=source["name"]))
    heads = table.shape[1]
    config = EncoderConfig(
        image_size=16 * grid, width=heads, heads=heads, depth=len(row["keys"]), qv_bias=False, layer_scale=None
    )
    upstream = fitted({SHARED: table}, config, source="the case", form="upstream")
    mended = resize_table(table, grid)
    values = next(iter(upstream.values())).double().numpy()
    missing = np.isnan(values)
    ratio, at = source_distances(row["src_grid"], grid)
    transposed, straight = _spread_out(mended), mended.double().numpy()
    found = {
        "keys": sorted(upstream),
        "new_shape": list(values.shape),
        "nan_count": int(missing.sum()),
        "nan_rows": np.flatnonzero(missing.any(axis=1)),
        "mean": np.nanmean(values),
        "std": np.nanstd(values),
        "ratio_q": ratio,
        "source_extent": at[-1],
        "target_extent": grid - 1,
        "upstream_minus_untransposed_reference_max_abs": np.nanmax(np.abs(values - straight)),
    }
    # noise of the reference's own solver: how far apart two exact splines are, in standard deviations of the table
    noise = row.get("upstream_equals_transposed_reference_max_abs", 0.0)
    apart = abs(np.nanmax(np.abs(values - transposed)) - noise) / row["std"] if noise else 0.0
    named = {**row, "keys": sorted(row["keys"])}
    about = {"source", "src_grid", "dst_grid", "index", "value", "untransposed_value", "note"}
    far = [among(found, named, about=about | {"upstream_equals_transposed_reference_max_abs"}), float(apart)]
    far.append(_with_gaps(values.ravel()[row["index"]], row["value"], spread=row["std"]))
    if "untransposed_value" in row:
        far.append(_with_gaps(straight.ravel()[row["index"]], row["untransposed_value"], spread=row["std"]))
    return max(far)


def _spread_out(table: Tensor) -> NDArray[np.float64]:
    """A table with dx and dy exchanged."""
    patches = table[:-3]
    side = round(len(patches) ** 0.5)
    turned = patches.view(side, side, -1).transpose(0, 1).flatten(0, 1)
    return torch.cat([turned, table[-3:]]).double().numpy()


def _with_gaps(found: NDArray[np.float64], expected: list[float | None], *, spread: float) -> float:
    """The largest difference in standard deviations, where None stands for NaN."""
    wanted = np.array([np.nan if value is None else value for value in expected], dtype=np.float64)
    if (np.isnan(found) != np.isnan(wanted)).any():
        return 1.0
    return float(np.nanmax(np.abs(found - wanted), initial=0.0) / spread)


def _atm_loss(row: Case) -> float:
    classes, size, batch, salt = row["num_classes"], row["size"], row["batch"], row["salt"]

    def drawn(name: str, *shape: int) -> Tensor:
        return torch.from_numpy(standard(shape, salt=salt, name=name))

    scores = tuple(drawn(f"logits{n}", batch, classes, classes + 1) for n in range(3))
    masks = [drawn(f"masks{n}", batch, classes, size // 4, size // 4) for n in range(3)]
    output = AtmOutput(scores=scores, masks=(*masks[:-1], resized(masks[-1], (size, size))))
    coarse = np.floor(uniform(batch * (size // 8) ** 2, salt=salt, name="label") * classes).astype(np.int64)
    labels = torch.from_numpy(coarse).view(batch, size // 8, size // 8)
    labels = labels.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    labels[0][labels[0] == classes - 1] = 0
    labels[:, :2] = IGNORED
    total, terms = atm_loss(output, labels)
    found = {
        "labels_present": [sorted(one.unique().tolist()) for one in labels],
        "weights": {
            "cls": 1,
            "mask": MASK_WEIGHT,
            "dice": DICE_WEIGHT,
            "eos": NO_OBJECT_WEIGHT,
            "focal_alpha": FOCAL_ALPHA,
            "focal_gamma": FOCAL_GAMMA,
        },
        "losses": {name: value.item() for name, value in terms.items()},
        "total": total.item(),
    }
    return among(found, row, about={"num_classes", "size", "batch", "salt", "how"})


def _schedule(row: Case) -> float:
    """Group 0 has the full rate; the factors of further groups stand in the words about them, as 'base_lr*0.65'."""
    given, each = row["args"], row["iterations_per_epoch"]
    scales = [1.0, *map(float, re.findall(r"base_lr ?\* ?([\d.]+\d)", row["groups"]))]
    how = {
        "steps": given["epochs"] * each,
        "warmup": given["warmup_epochs"] * each,
        "highest": given["base_lr"],
        "first": given["warmup_lr"],
        "last": given["min_lr"],
    }
    found = [[step, [published_rate(step, scale=scale, **how) for scale in scales]] for step, _ in row["rows"]]
    return max(
        max(float(abs(ours - theirs) / theirs) for ours, theirs in zip(mine[1], wanted, strict=True))
        for mine, (_, wanted) in zip(found, row["rows"], strict=True)
    )


def _groups(row: Case) -> float:
    width, depth = 12, row["depth"]
    shape = {"img_size": 32, "embed_dim": width, "num_heads": 2, "depth": depth, **row["build"]}
    network = Encoder(_encoder_config(shape, eps=1e-6), classes=2)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    layers = layers_of(network)
    decayed = row["groups"] and max(group["weight_decay"] for group in row["groups"])
    groups = layer_groups(
        network,
        layers,
        lr=row["base_lr"],
        weight_decay=decayed,
        decay=row["layer_decay"],
        undecayed=undecayed_of(network),
    )
    places = {name: place for place, layer in enumerate(layers) for name in layer}
    found = []
    for group in groups:
        params = [names[id(parameter)] for parameter in group["params"]]
        place, kind = places[params[0]], "decay" if group["weight_decay"] else "no_decay"
        found.append(
            {
                "name": f"layer_{place}_{kind}",
                "lr": group["lr"],
                "lr_scale": group["lr"] / row["base_lr"],
                "weight_decay": group["weight_decay"],
                "params": sorted(params),
            }
        )
    wanted = [{**group, "params": sorted(group["params"])} for group in row["groups"]]

    def by_name(group: Case) -> str:
        return str(group["name"])

    return difference(sorted(found, key=by_name), sorted(wanted, key=by_name))


def _scaling(part: Case, case: Case) -> float:
    example = part["example"]
    found = scaled_rate(
        example["base_lr"],
        batch=example["batch"],
        devices=example["world"],
        accumulate=example.get("accumulation_steps", 1),
    )
    about = {"base_lr", "batch", "world", "accumulation_steps"}
    return among({"lr": found}, example, about=about)


def _figures(row: Case) -> float:
    found = [foreground_figures(predicted, truth) for predicted, truth in zip(row["pred"], row["gt"], strict=True)]
    return among({"expected": found, "smooth": SMOOTH}, row, about={"pred", "gt", "note"})

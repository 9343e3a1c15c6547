"""How this package answers golden cases of any size: encoder blocks, prompt encoders with boxes, whole networks.

`check` answers the file without a network: the loss, clicks, cubes, normalisation and windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omlab_kernels import dice_cross_entropy
from omlab_sam.prompt_encoder import PromptEncoder
from omlab_sammed3d.attention import Triple
from omlab_sammed3d.clicks import random_click, ritm_click
from omlab_sammed3d.encoder import Block
from omlab_sammed3d.naive import padded_attention
from omlab_sammed3d.network import SamMed3d, SamMed3dConfig
from omlab_sammed3d.training import THRESHOLD, click_loss, drawn_click
from omlab_sammed3d.windows import Window, crop_start, z_normalise
from omlab_testkit.expected import Answer, among, answer_parts, difference
from omlab_testkit.golden import uniform

Case = Mapping[str, Any]
Mask = NDArray[np.bool_]


def build(case: dict[str, Any]) -> nn.Module:
    """The part or network with the case's hyper-parameters, untrained, in eval mode."""
    shape = case["build"]
    rel_pos = shape.get("rel_pos", "sam-med3d")
    if "dim" in shape:
        return Block(
            shape["dim"],
            heads=shape["num_heads"],
            window=shape["window_size"],
            grid=tuple(shape.get("grid", case["inputs"]["tokens"]["shape"][1:4])),
            rel_pos=rel_pos,
            mlp_ratio=shape.get("mlp_ratio", 4),
            table_rows=_table_rows(case),
        ).eval()
    if "image_size" in shape:
        size, kinds = shape["image_size"], _point_embeddings(case)
        return PromptEncoder(shape["embed_dim"], image_size=size, grid=size // 16, axes=3, kinds=kinds).eval()
    config = SamMed3dConfig(
        image_size=shape["img_size"],
        patch=shape.get("patch_size", 16),
        width=shape["embed_dim"],
        depth=shape["depth"],
        heads=shape["num_heads"],
        global_blocks=tuple(shape["global_attn_indexes"]),
        window=shape["window_size"],
        prompt_width=shape["prompt_embed_dim"],
        multimask_outputs=shape["num_multimask_outputs"],
        point_embeddings=_point_embeddings(case),
        rel_pos=rel_pos,
    )
    with torch.device("meta"):  # drawing values that are replaced anyway takes longer than the rest
        network = SamMed3d(config)
    return network.to_empty(device="cpu").eval()


def _table_rows(case: dict[str, Any]) -> Triple | None:
    """Rows of a block's tables of relative positions: those of its state, which need not fit its window or grid."""
    rows = {row[0]: int(row[1][0]) for row in case.get("state", [])}
    if "attn.rel_pos_d" not in rows:
        return None
    return rows["attn.rel_pos_d"], rows["attn.rel_pos_h"], rows["attn.rel_pos_w"]


def _point_embeddings(case: dict[str, Any]) -> int:
    """What the case says, or as many as its state has."""
    found: int = case["build"].get("point_embeddings", 0)
    return found or sum(".point_embeddings." in f".{row[0]}" for row in case["state"])


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a case of the form that `build` made the module for."""
    with torch.inference_mode():
        if isinstance(module, Block):
            return _block(module, inputs["tokens"])
        if isinstance(module, PromptEncoder):
            return _prompts(module, inputs)
        assert isinstance(module, SamMed3d)
        return _network(module, inputs, wanted=set(case["outputs"]))


def _block(block: Block, tokens: Tensor) -> dict[str, Tensor]:
    """What only the padded form has comes from there; `attn` and `block` are what users run."""
    normed = block.norm1(tokens)
    padded = padded_attention(block.attn, normed)
    return {
        "norm1": normed,
        "windows": padded.windows,
        "q": padded.q,
        "k": padded.k,
        "v": padded.v,
        "scores_with_rel_pos": padded.scores,
        "attention_rows_max": padded.scores.softmax(dim=-1).amax(dim=-1),
        "attn_windows": padded.output,
        "attn": block.attn(normed),
        "block": block(tokens),
    }


def _prompts(encoder: PromptEncoder, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {"dense_pe": encoder.dense_pe()}
    points, labels = inputs.get("point_coords"), inputs.get("point_labels")
    if points is not None:
        outputs["sparse_points"], _ = encoder(points=points, labels=labels)
    boxes = _boxes(inputs)
    if boxes is not None:
        outputs["sparse_box"], _ = encoder(boxes=boxes)
        if points is not None:
            outputs["sparse_points_box"], _ = encoder(points=points, labels=labels, boxes=boxes)
    return outputs


def _boxes(inputs: dict[str, Tensor]) -> Tensor | None:
    """(B, 6): near corner, far corner."""
    if "box_min" in inputs:
        return torch.cat((inputs["box_min"], inputs["box_max"]), dim=-1)
    return inputs.get("boxes")


def _network(network: SamMed3d, inputs: dict[str, Tensor], *, wanted: set[str]) -> dict[str, Tensor]:
    outputs, embedding = _encoder(network, inputs["image"], wanted=wanted)
    outputs["dense_pe"] = network.prompt_encoder.dense_pe()
    mask = inputs.get("mask_input")
    if mask is None:
        mask = embedding.new_zeros(1, 1, *(network.config.mask_size,) * 3)
    if "point_coords" in inputs:
        outputs |= _clicks(network, embedding, inputs["point_coords"], inputs["point_labels"], mask, wanted=wanted)
    boxes = _boxes(inputs)
    if boxes is not None:
        outputs["low_res_box"], outputs["iou_box_all"] = network.decode(embedding, boxes=boxes)
        outputs["low_res_box_mask_input"], _ = network.decode(embedding, boxes=boxes, previous=mask)
        if "point_coords" in inputs:
            outputs["low_res_points_box"], _ = network.decode(
                embedding, points=inputs["point_coords"], labels=inputs["point_labels"], boxes=boxes
            )
    return outputs


def _clicks(
    network: SamMed3d, embedding: Tensor, points: Tensor, labels: Tensor, mask: Tensor, *, wanted: set[str]
) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    prompts = network.prompt_encoder
    clicks = points.shape[1]
    zero = torch.zeros_like(mask)
    for name, count in (("1click", 1), *((f"{n}clicks", n) for n in range(2, clicks + 1))):
        outputs[f"sparse_{name}"], _ = prompts(points=points[:, :count], labels=labels[:, :count])
    for name, given in (("zero_mask", zero), ("mask_input", mask), ("no_mask", None)):
        _, outputs[f"dense_{name}"] = prompts(points=points, labels=labels, masks=given)
    first: dict[str, Any] = {"points": points[:, :1], "labels": labels[:, :1]}
    outputs["low_res_1click"], outputs["iou_1click_all"] = network.decode(embedding, **first)
    outputs["low_res_1click_multi"], _ = network.decode(embedding, **first, multimask=True)
    outputs["low_res_1click_mask_input"], _ = network.decode(embedding, **first, previous=mask)
    for n in range(2, clicks + 1):
        outputs[f"low_res_{n}clicks_mask_input"], _ = network.decode(
            embedding, points=points[:, :n], labels=labels[:, :n], previous=mask
        )
    for way in ("accumulated", "newest"):
        logits = None
        for n in range(1, clicks + 1):
            part = slice(0 if way == "accumulated" else n - 1, n)
            logits, ious = network.decode(embedding, points=points[:, part], labels=labels[:, part], previous=logits)
            outputs[f"low_res_{n}clicks_{way}"], outputs[f"iou_{n}clicks_{way}_all"] = logits, ious
            if f"mask_{n}clicks_{way}" in wanted:
                outputs[f"mask_{n}clicks_{way}"] = network.upsample(logits)
    outputs["low_res_mask_only"], _ = network.decode(embedding, previous=outputs[f"low_res_{clicks}clicks_newest"])
    return outputs


def _encoder(network: SamMed3d, image: Tensor, *, wanted: set[str]) -> tuple[dict[str, Tensor], Tensor]:
    """The embedding, and what each block gives; attentions in the padded form only where the case asks for them."""
    outputs: dict[str, Tensor] = {}
    encoder = network.image_encoder
    outputs["patch_embed"] = encoder.patch_embed(image)
    x = outputs["patch_embed"] + encoder.pos_embed
    for n, block in enumerate(encoder.blocks):
        assert isinstance(block, Block)
        if f"block{n}_attn" in wanted:
            outputs[f"block{n}_attn"] = padded_attention(block.attn, block.norm1(x)).output
        x = block(x)
        outputs[f"block{n}"] = x
    outputs["encoder"] = encoder.neck(x.movedim(-1, 1))
    return outputs, outputs["encoder"]


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "dice_ce_loss": _loss,
        "click_training": _training_clicks,
        "click_inference": _inference_clicks,
        "click_ritm": _ritm_click,
        "crop_to_label": _cubes,
        "z_normalise": _normalised,
        "sliding_window": _windows,
    }
    return answer_parts(case, answers, about={"reference", "about", "rtol"})


def _drawn(spec: Case) -> NDArray[np.float64]:
    values = uniform(int(np.prod(spec["shape"])), salt=spec["salt"], name=spec["name"]).reshape(spec["shape"])
    return values * (spec["high"] - spec["low"]) + spec["low"] if "low" in spec else values


def _drawn_mask(spec: Case) -> Mask:
    """Its rule reads 'uniform(0,1) < 0.3'."""
    return np.asarray(_drawn(spec) < float(spec["rule"].rpartition("<")[2]))


def _loss(part: Case, case: Case) -> float:
    """The older library's cross-entropy of one channel is 0, so that its total is the Dice."""
    logits = torch.from_numpy(_drawn(part["pred"])).float()
    truth = torch.from_numpy(_drawn_mask(part["gt"])).long()
    one_term: dict[str, Any] = {"sigmoid": True, "squared": True, "smooth": 1e-5}
    dice = dice_cross_entropy(logits, truth, ce=0, **one_term).item()
    found = {
        "dice_part": dice,
        "bce_part": dice_cross_entropy(logits, truth, dice=0, **one_term).item(),
        "total": click_loss(logits, truth[:, 0]).item(),
    }
    older = among({"total": dice, "dice_part": dice}, part.get("older_library", {}), about={"note", "version"})
    return max(older, among(found, part, about={"pred", "gt", "note", "older_library"}))


def _arrays(part: Case, case: Case, *, threshold: float) -> tuple[Mask, Mask]:
    """The mask of the round before, and the reference; clicks of inference are on the arrays of training's."""
    source = part if "prev" in part else case["click_training"]
    return _drawn(source["prev"])[0, 0] > threshold, _drawn_mask(source["gt"])[0, 0]


def _clicked(mask: Mask, reference: Mask, row: Case, *, rule: Any = random_click) -> tuple[dict[str, Any], int]:
    """The click that a row draws, as the row has it, and among how many voxels it is drawn."""
    counts: list[int] = []

    def draw(count: int) -> int:
        counts.append(count)
        return int(row.get("draw", 0))

    point = rule(mask, reference, draw=draw)
    return {"point": [int(n) for n in point.at], "label": int(point.label)}, counts[0]


def _expected_click(row: Case) -> dict[str, Any]:
    return {"point": row["point"], "label": row["label"]}


def _training_clicks(part: Case, case: Case) -> float:
    """By the clicks on numpy masks, and by those of the training step, whose draw is a share of the voxels."""
    mask, reference = _arrays(part, case, threshold=THRESHOLD)
    far = []
    for row in part["cases"]:
        found, count = _clicked(mask, reference, row)
        far += [difference(found, _expected_click(row)), difference(count, part.get("error_voxels", count))]
        share = torch.tensor((row["draw"] + 0.5) / count, dtype=torch.float64)
        place, label = drawn_click(torch.from_numpy(mask), torch.from_numpy(reference).long(), share)
        far.append(difference({"point": place.tolist(), "label": int(label)}, _expected_click(row)))
    return max(far)


def _inference_clicks(part: Case, case: Case) -> float:
    mask, reference = _arrays(part, case, threshold=0.0)
    far = [difference(_clicked(mask, reference, row)[0], _expected_click(row)) for row in part["cases"]]
    if "prediction_equals_truth" in part:
        row = part["prediction_equals_truth"]
        far.append(difference(_clicked(reference, reference, row)[0], _expected_click(row)))
    return max(far)


def _ritm_click(part: Case, case: Case) -> float:
    reference, mask = np.zeros((2, *part["shape"]), bool)
    reference[tuple(slice(*span) for span in part["gt_box"])] = True
    for box in part["pred_boxes"]:
        mask[tuple(slice(*span) for span in box)] = True
    found, count = _clicked(mask, reference, part, rule=ritm_click)
    expected = {"point": part["first"], "label": part["label"], "candidates": part["candidates"]}
    return difference(found | {"candidates": count}, expected)


def _cubes(part: Case, case: Case) -> float:
    return max(_cube(row, side=part["target"]) for row in part["cases"])


def _cube(row: Case, *, side: int) -> float:
    low, stop = np.array(row["label_box"]).T
    start = crop_start(low, stop - 1, side=side)
    found = _borders(start, side=side, shape=np.array(row["shape"])) | {
        "label_box_after": np.stack((low - start, stop - start)).clip(0, side).T
    }
    return among(found, row, about={"shape", "label_box"})


def _borders(start: NDArray[Any], *, side: int, shape: NDArray[Any]) -> dict[str, Any]:
    """Begin and end of each axis: how far a cube reaches beyond a volume, and how much it leaves of it."""
    before, after = start, shape - start - side
    both = np.stack((before, after), axis=1).ravel()
    return {"padding": np.maximum(-both, 0), "cropping": np.maximum(both, 0)}


def _normalised(part: Case, case: Case) -> float:
    image = torch.from_numpy(_drawn(part["input"]).astype(np.float32))
    found = z_normalise(image).flatten()
    # what was subtracted and divided by, read off the result: image = mean + std * found
    slope, offset = np.polyfit(found.double().numpy(), image.flatten().double().numpy(), 1)
    answer = {"mean": float(offset), "std": float(slope), "output_first8": found[:8].tolist()}
    return among(answer, part, about={"input", "note"})


def _windows(part: Case, case: Case) -> float:
    return max(_window(row, window) for row in part["cases"] for window in row["windows"])


def _window(row: Case, recorded: Case, *, side: int = 128, slab: int = 32) -> float:
    """A cube that was moved keeps its outer slab along each axis that it was moved along."""
    low, stop = np.array(row["label_box"]).T
    middle = Window(first=crop_start(low, stop - 1, side=side).astype(float), ratio=np.ones(3), side=side)
    offset, shape = np.array(recorded["offset"]), tuple(row["shape"])
    window = middle.moved(offset)
    kept = []
    for axis, step in enumerate(offset):
        part = Window(
            first=window.first + (side - slab if step > 0 else 0), ratio=window.ratio, side=slab if step else side
        )
        kept.append(part.reach(shape)[axis])
    region = np.array([(span.start, span.stop) for span in kept])
    found = _borders(window.first.astype(int), side=side, shape=np.array(shape)) | {
        "volume_region": region.ravel(),
        "window_region": (region - window.first[:, None].astype(int)).ravel(),
    }
    reached = np.array([(span.start, size - span.stop) for span, size in zip(window.reach(shape), shape, strict=True)])
    return max(among(found, recorded, about={"offset"}), difference(reached.ravel(), recorded["cropping"]))

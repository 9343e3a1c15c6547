"""How this package answers golden cases of any size: encoder blocks, prompt encoders with boxes, whole networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from omlab_sammed3d.encoder import Block
from omlab_sammed3d.naive import padded_attention
from omlab_sammed3d.network import PromptEncoder, SamMed3d, SamMed3dConfig


def build(case: dict[str, Any]) -> nn.Module:
    """The part or network with the case's hyper-parameters, untrained, in eval mode."""
    shape = case["build"]
    rel_pos = shape.get("rel_pos", "sam-med3d")
    if "grid" in shape:
        return Block(
            shape["dim"],
            heads=shape["num_heads"],
            window=shape["window_size"],
            grid=tuple(shape["grid"]),
            rel_pos=rel_pos,
            mlp_ratio=shape.get("mlp_ratio", 4),
        ).eval()
    if "image_size" in shape:
        config = SamMed3dConfig(
            image_size=shape["image_size"],
            prompt_width=shape["embed_dim"],
            point_embeddings=_point_embeddings(case),
        )
        return PromptEncoder(config).eval()
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
    outputs: dict[str, Tensor] = {"dense_pe": encoder.dense_positions()}
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
    outputs["dense_pe"] = network.prompt_encoder.dense_positions()
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

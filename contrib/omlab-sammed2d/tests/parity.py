"""How this package answers golden cases of any size: whole networks, and tables of another image size.

`check` answers the file without a network: losses, scores, prompts from masks, frames and intensities.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omlab_sam.encoder import Block
from omlab_sam.naive import padded_windows
from omlab_sam.network import Sam, best_mask
from omlab_sam.rounds import Asked
from omlab_sam.weights import resized
from omlab_sammed2d.clicks import Draw, error_points, first_points, most_shift, region_boxes, shifted
from omlab_sammed2d.frames import Frame, nearest_index, normalised
from omlab_sammed2d.losses import dice_loss, focal_loss, iou_loss, published_scores, total_loss
from omlab_sammed2d.predictor import Segmenter
from omlab_sammed2d.training import drawn_errors
from omlab_testkit.expected import Answer, among, answer_parts, difference
from omlab_testkit.golden import uniform

Case = Mapping[str, Any]
Mask = NDArray[np.bool_]


class Resizing(nn.Module):
    """Reads entries of a checkpoint for another image size; it has no entries of its own."""

    def __init__(self, *, image_size: int, patch: int) -> None:
        super().__init__()
        self.grid = image_size // patch

    def forward(self, inputs: Mapping[str, Tensor], *, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
        return resized(inputs, shapes={key: tuple(shape) for key, shape in shapes.items()})


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode; or what resizes tables."""
    shape = case["build"]
    if "embed_dim" not in shape:
        return Resizing(image_size=shape["image_size"], patch=shape["patch"]).eval()
    with torch.device("meta"):  # drawing values that are replaced anyway takes longer than the rest
        sam = Sam(
            image_size=shape["image_size"],
            embed_dim=shape["embed_dim"],
            depth=shape["depth"],
            num_heads=shape["num_heads"],
            global_attn_indexes=shape["global_attn_indexes"],
            window_size=shape["window_size"],
            adapters=shape.get("adapter", False),
            patch_size=shape.get("patch_size", shape.get("patch", 16)),
            out_chans=shape.get("out_chans", 256),
            num_multimask_outputs=shape.get("num_multimask_outputs", 3),
        )
    return sam.to_empty(device="cpu").eval()


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a case of the form that `build` made the module for."""
    with torch.inference_mode():
        if isinstance(module, Resizing):
            return _tables(module, inputs)
        assert isinstance(module, Sam)
        outputs = _encoder(module, inputs["image"], wanted=set(case["outputs"]))
        return outputs | _prompted(module, outputs["encoder"], inputs)


def _tables(module: Resizing, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tables of windows have one length, whatever the image's size; those of the image are the longer ones."""
    grid = module.grid
    source = next((value.shape[1] for key, value in inputs.items() if key.endswith("pos_embed")), None)
    shapes: dict[str, Sequence[int]] = {}
    for key, value in inputs.items():
        if key.endswith("pos_embed"):
            shapes[key] = (1, grid, grid, value.shape[3])
        elif ".rel_pos_" in key and (len(value) == 2 * source - 1 if source else len(value) != 27):
            shapes[key] = (2 * grid - 1, value.shape[1])
    found: dict[str, Tensor] = module(inputs, shapes=shapes)
    return found


def _encoder(sam: Sam, image: Tensor, *, wanted: set[str]) -> dict[str, Tensor]:
    """What each block gives; attentions of windows in the padded form, which alone has padded queries."""
    encoder, outputs = sam.image_encoder, {}
    outputs["patch_embed"] = encoder.patch_embed(image)
    x = outputs["patch_embed"] + encoder.pos_embed
    for n, block in enumerate(encoder.blocks):
        assert isinstance(block, Block)
        if f"block{n}_attn" in wanted:
            normed = block.norm1(x)
            outputs[f"block{n}_attn"] = padded_windows(block.attn, normed) if block.attn.window else block.attn(normed)
        if f"block{n}_adapter" in wanted:
            outputs[f"block{n}_adapter"] = block.Adapter(block.norm2(x + block.attn(block.norm1(x))))
        x = block(x)
        outputs[f"block{n}"] = x
    outputs["encoder"] = encoder.neck(x.movedim(-1, 1))
    return outputs


def _prompted(sam: Sam, embedding: Tensor, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    prompts = sam.prompt_encoder
    outputs: dict[str, Tensor] = {"dense_pe": prompts.dense_pe()}
    clicks: dict[str, Any] = {}
    if "point_coords" in inputs:
        clicks = {"points": inputs["point_coords"], "labels": inputs["point_labels"]}
        outputs["sparse_points"], outputs["dense_none"] = prompts(**clicks)
        for name, value in _decoded(sam, embedding, **clicks).items():
            outputs[f"{name}_points_multi"] = value
    boxes = _boxes(inputs)
    if boxes is not None:
        outputs["sparse_box"], dense = prompts(boxes=boxes)
        logits, outputs["iou_box_all"] = sam.mask_decoder.all_masks(
            embedding, dense_pe=outputs["dense_pe"], sparse=outputs["sparse_box"], dense=dense
        )
        outputs["low_res_box_single"], outputs["low_res_box_multi"] = logits[:, :1], logits[:, 1:]
        outputs["iou_box_multi"] = outputs["iou_box_all"][:, 1:]
        if clicks:
            outputs["sparse_points_box"], _ = prompts(**clicks, boxes=boxes)
            for name, value in _decoded(sam, embedding, **clicks, boxes=boxes).items():
                outputs[f"{name}_points_box_multi"] = value
    masks = inputs.get("mask_input")
    if masks is not None:
        _, outputs["dense_mask"] = prompts(masks=masks)
        for name, given in (("points_mask", clicks), ("box_mask", {"boxes": boxes}), ("mask", {})):
            if name == "mask" or any(value is not None for value in given.values()):
                for what, value in _decoded(sam, embedding, **given, masks=masks).items():
                    outputs[f"{what}_{name}_multi"] = value
    for name in ("points_mask", "points", "box_mask"):
        if f"low_res_{name}_multi" in outputs and "mask_best_upsampled" not in outputs:
            best, _ = best_mask(outputs[f"low_res_{name}_multi"], outputs[f"iou_{name}_multi"])
            outputs["mask_best_upsampled"] = sam.upsample(best)
    return outputs


def _decoded(sam: Sam, embedding: Tensor, **given: Any) -> dict[str, Tensor]:
    logits, ious = sam.decode(embedding, **given, multimask=True)
    return {"low_res": logits, "iou": ious}


def _boxes(inputs: dict[str, Tensor]) -> Tensor | None:
    """(B, 4): x0, y0, x1, y1."""
    if "box_min" in inputs:
        return torch.cat((inputs["box_min"], inputs["box_max"]), dim=-1)
    return inputs.get("boxes")


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "losses": _losses,
        "metrics": _metrics,
        "box_from_mask": _region_boxes,
        "error_points": _error_points,
        "first_points": _first_points,
        "mask_prompt": _mask_prompt,
        "nearest_resize": _nearest,
        "pad_or_resize": _padded,
        "intensity": _intensity,
        "postprocess": _back,
    }
    return answer_parts(case, answers, about={"reference", "about", "rtol", "model", "notes"})


def _drawn(spec: Case) -> NDArray[np.float64]:
    values = uniform(int(np.prod(spec["shape"])), salt=spec["salt"], name=spec["name"]).reshape(spec["shape"])
    return values * (spec["high"] - spec["low"]) + spec["low"] if "low" in spec else values


def _drawn_mask(spec: Case) -> Mask:
    """Its rule reads 'uniform < 0.35'."""
    return np.asarray(_drawn(spec) < float(spec["rule"].rpartition("<")[2]))


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _losses(part: Case, case: Case) -> float:
    logits, truth, iou = (
        _tensor(_drawn(part["pred"])),
        _tensor(_drawn_mask(part["gt"])),
        _tensor(_drawn(part["pred_iou"])),
    )
    found = {
        "focal": focal_loss(logits, truth).item(),
        "dice": dice_loss(logits, truth).item(),
        "mask_iou": iou_loss(logits, truth, iou).item(),
        "total": total_loss(logits, truth, iou).item(),
    }
    return among(found, part, about={"pred", "gt", "pred_iou", "note"})


def _metrics(part: Case, case: Case) -> float:
    logits, truth = _tensor(_drawn(part["pred"])), _tensor(_drawn_mask(part["gt"]))
    iou, dice = published_scores(logits, truth)
    positive, _ = published_scores(logits + 5, truth)
    found = {"iou_per_mask": iou.tolist(), "dice_per_mask": dice.tolist(), "iou_positive_input": positive.tolist()}
    return among(found, part, about={"pred", "gt", "note"})


def _region_boxes(part: Case, case: Case) -> float:
    mask = np.zeros(part["shape"], bool)
    for top, left, bottom, right in part["regions"]:
        mask[top:bottom, left:right] = True
    far = [_moved(region_boxes(mask)[0], row) for row in part["cases"]]
    for name, expected in part.items():
        if name.startswith("tiny_region"):  # its name says where it lies and how large it is
            rows, columns, top, left = (int(n) for n in _numbers(name))
            tiny = np.zeros(part["shape"], bool)
            tiny[top : top + rows, left : left + columns] = True
            far.append(_moved(region_boxes(tiny)[0], expected))
        elif name.endswith("_no_noise") or name.startswith("evaluation"):
            far.append(difference([list(box) for box in region_boxes(mask, count=len(expected))], expected))
        elif name not in ("shape", "regions", "cases", "note"):
            raise KeyError(name)
    return max(far)


def _numbers(name: str) -> list[str]:
    words = name.replace("x", "_").split("_")
    return [word for word in words if word.isdigit()]


def _moved(box: tuple[float, float, float, float], row: Case) -> float:
    most = most_shift(box)
    found = {"box": list(shifted(box, x=row["draws"][0], y=row["draws"][1])), "ranges": [[-most, most], [-most, most]]}
    return among(found, row, about={"draws"})


def _in_turn(draws: Sequence[int], *, counts: list[int] | None = None) -> Draw:
    """Gives these draws one after the other, and notes among how many each was drawn."""
    left = iter(draws)

    def draw(count: int) -> int:
        if counts is not None:
            counts.append(count)
        return int(next(left))

    return draw


def _given(order: Sequence[int]) -> Callable[[int], Sequence[int]]:
    """A permutation that is not drawn."""
    return lambda _count: order


def _error_points(part: Case, case: Case) -> float:
    """By the points on numpy masks, and by those of the training step, whose draws are shares of the pixels."""
    masks, references = _drawn_mask(part["pred"])[:, 0], _drawn_mask(part["gt"])[:, 0]
    rows: dict[str, list[Any]] = {"points_xy": [], "labels": [], "error_counts": []}
    far = []
    for mask, reference, draws in zip(masks, references, part["draws"], strict=True):
        counts: list[int] = []
        points, labels = error_points(mask, reference, count=len(draws), draw=_in_turn(draws, counts=counts))
        for name, value in zip(rows, (points.tolist(), labels.tolist(), counts[0]), strict=True):
            rows[name].append(value)
        shares = torch.tensor([(n + 0.5) / counts[0] for n in draws], dtype=torch.float64)
        places, kinds = drawn_errors(torch.from_numpy(mask), torch.from_numpy(reference), shares)
        far.append(difference([places.tolist(), kinds.tolist()], [points.tolist(), labels.tolist()]))
    return max(among(rows, part, about={"pred", "gt", "draws", "note"}), *far)


def _first_points(part: Case, case: Case) -> float:
    mask = _drawn_mask(part["mask"])
    far = []
    for name, row in part.items():
        if name in ("mask", "note"):
            continue
        draws = [row["draw"]] if "draw" in row else [*row["foreground_draws"], *row["background_draws"]]
        order = list(row.get("order", range(len(draws))))
        points, labels = first_points(mask, count=len(draws), draw=_in_turn(draws), shuffle=_given(order))
        found = {"points": points.tolist(), "labels": labels.tolist()}
        far.append(among(found, row, about={"draw", "foreground_draws", "background_draws", "order", "note"}))
    return max(far)


def _mask_prompt(part: Case, case: Case) -> float:
    """What reaches the prompt encoder when a mask of these logits is what a round begins with."""
    logits, seen = torch.tensor(part["low_res_logits"]), []
    grid = 2 * max(1, math.ceil(math.sqrt(len(logits)) / 8))
    sam = Sam(image_size=16 * grid, embed_dim=16, depth=1, num_heads=2, global_attn_indexes=(0,), out_chans=16).eval()
    sam.prompt_encoder.mask_downscaling.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    low = torch.zeros(16 * grid * grid)
    low[: len(logits)] = logits
    asked = Asked(points=torch.zeros(0, 2), labels=torch.zeros(0), mask=low.unflatten(0, (4 * grid, 4 * grid)))
    Segmenter(sam).answer([torch.zeros(1, 16, grid, grid)], [asked])
    return among({"mask_inputs": seen[0].flatten()[: len(logits)].tolist()}, part, about={"low_res_logits", "note"})


def _nearest(part: Case, case: Case) -> float:
    return max(
        among({"index": nearest_index(row["from"], row["to"]).tolist()}, row, about={"from", "to", "note"})
        for row in part["cases"]
    )


def _padded(part: Case, case: Case, side: int = 256) -> float:
    """By where a grey image comes to lie; `pad_value` is what the square's first corner shows, where no image is."""
    far = []
    for row in part["cases"]:
        frame = Frame(shape=tuple(row["size"]), side=side, fit="pad")
        grey = np.full(frame.shape, 200.0)
        seen = frame.image(grey, order="bgr")[0].numpy()
        content = seen == normalised(grey[:1, :1])[0, 0, 0]
        rows, columns = np.flatnonzero(content.any(axis=1)), np.flatnonzero(content.any(axis=0))
        found = {
            "content_rows": [int(rows[0]), int(rows[-1]) + 1],
            "content_cols": [int(columns[0]), int(columns[-1]) + 1],
            "pad_value": None if content[0, 0] else float(seen[0, 0]),
        }
        far.append(among(found, row, about={"size", "note"}))
    return max(far)


def _intensity(part: Case, case: Case) -> float:
    blue, green, red = part["pixel_bgr"]
    found = normalised(np.array([[[red, green, blue]]], np.float64), order="bgr")[0, 0]
    return among({"normalised": found.tolist()}, part, about={"pixel_bgr", "note"})


def _back(part: Case, case: Case, side: int = 256) -> float:
    low = _tensor(_drawn(part["low_res"]))[:, 0]
    far = []
    for row in part["cases"]:
        frame = Frame(shape=tuple(row["size"]), side=side, fit="resize" if row["pad_top_left"] is None else "pad")
        logits = frame.back(low)[:, None]
        flat = logits.double().flatten()
        found = {
            "pad_top_left": list(frame.corner) if frame.is_padded else None,
            "output": {
                "shape": list(logits.shape),
                "mean": flat.mean().item(),
                "std": flat.std(correction=0).item(),
                "absmax": flat.abs().max().item(),
                "index": row["output"]["index"],
                "value": flat[row["output"]["index"]].tolist(),
            },
        }
        far.append(among(found, row, about={"size", "note"}))
    return max(far)

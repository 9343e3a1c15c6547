"""How this package answers golden cases: MedLAM of any width and patch, MedSAM of any depth, and the files without one.

`check` answers these: HU, extreme points, orientation, measures of boxes, localisation from start to end, the loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np
import torch
from nibabel.orientations import inv_ornt_aff
from numpy.typing import NDArray
from torch import Tensor, nn

from omlab_medlsam.boxed import resized_probabilities
from omlab_medlsam.landmarks import bounds_of, extreme_points, part_bounds, part_points
from omlab_medlsam.localisation import Found, Structure, anchor_of, describe, distances, localise
from omlab_medlsam.losses import distance_loss, gaps_to, similarity_loss
from omlab_medlsam.measures import box_iou, wall_distance
from omlab_medlsam.network import Features, MedLam, MedLamConfig, unit_length
from omlab_medlsam.space import WorkingSpace, corners_of, las_to_file
from omlab_medlsam.working import normalised
from omlab_sam.network import Sam
from omlab_testkit.expected import Answer, among, answer_parts
from omlab_testkit.golden import draw_state, recorded, uniform
from omlab_volume.geometry import Grid

Case = Mapping[str, Any]
SURE = 2e-4
"""The margin from which on the best voxel of a refinement is compared: below it rounding decides."""


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode."""
    shape = case["build"]
    if "base_channels" in shape:
        return _medlam(shape)
    with torch.device("meta"):  # drawing values that are replaced anyway takes longer than the rest
        sam = Sam(**shape)
    return sam.to_empty(device="cpu").eval()


def _medlam(shape: Case) -> MedLam:
    config = MedLamConfig(
        base_channels=shape["base_channels"],
        patch=tuple(shape["patch_size"]),
        in_channels=shape["in_channels"],
        classes=shape["classes"],
    )
    return MedLam(config).eval()


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a case."""
    with torch.inference_mode():
        if isinstance(module, Sam):
            return _medsam_outputs(module, case, inputs)
        assert isinstance(module, MedLam)
        encoded = module.encode(inputs["image"])
        features = module.decode(encoded)
        stages = (*encoded.skips, encoded.bottleneck)
        return {
            **{f"conv{n}_2": stage for n, stage in enumerate(stages)},
            **{f"feature{n}": level for n, level in enumerate(features)},
            **{f"feature{n}_normalised": unit_length(level) for n, level in enumerate(features)},
            "fc_position": module.locate(encoded),
            "prob": module.classify(features),
        }


def _medsam_outputs(sam: Sam, case: Case, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Blocks, embedding, prompts and masks of the boxes on one image; probabilities at the size in their name."""
    boxes = torch.cat((inputs["box_min"], inputs["box_max"]), dim=1)
    with recorded({f"block{n}": block for n, block in enumerate(sam.image_encoder.blocks)}) as outputs:
        embedding = sam.image_encoder(inputs["image"])
    low, one = sam.decode(embedding, boxes=boxes, multimask=False)
    _, three = sam.decode(embedding, boxes=boxes, multimask=True)
    outputs |= {"encoder": embedding, "sparse": sam.prompt_encoder(boxes=boxes)[0]}
    outputs |= {"low_res": low, "iou_all": torch.cat((one, three), dim=1)}
    for name in case["outputs"]:
        if name.startswith("probability_"):
            height, width = map(int, name.removeprefix("probability_").split("x"))
            outputs[name] = resized_probabilities(low, shape=(height, width))
    return outputs


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "intensity": _intensity,
        "points_from_label": _points,
        "corners_from_extremes": _corners,
        "box_metrics": _measures,
        "orientation": _orientation,
        "localisation": _localisation,
        "training_loss": _loss,
    }
    return answer_parts(case, answers, about={"reference", "about", "note", "rtol"})


def _intensity(part: Case, case: Case) -> float:
    """The rule asks for a value below -10 in the volume."""
    return among({"normalised": normalised(np.array(part["hu"], np.float32))}, part, about={"hu", "note"})


def _ellipsoid(shape: list[int], row: Case) -> NDArray[np.bool_]:
    places = np.indices(shape).astype(float)
    centre, radii = (np.array(row[name], float)[:, None, None, None] for name in ("centre", "radii"))
    return np.asarray((((places - centre) / radii) ** 2).sum(0) <= 1)


def _points(part: Case, case: Case) -> float:
    mask = _ellipsoid(part["shape"], part["ellipsoid"])
    found = {
        "bounds": bounds_of(mask),
        "extreme": extreme_points(mask),
        "parts": {n: part_bounds(mask, parts=int(n)) for n in part.get("parts", {})},
        "part_points": {n: part_points(mask, parts=int(n)) for n in part.get("part_points", {})},
    }
    return among(found, part, about={"shape", "ellipsoid", "note"})


def _corners(part: Case, case: Case) -> float:
    return among({"corners": corners_of(np.array(part["extremes"]))}, part, about={"extremes", "note"})


def _measures(part: Case, case: Case) -> float:
    boxes = {name: np.array(part[name], float) for name in ("a", "b", "c") if name in part}
    spacing = np.array(part["spacing"], float)
    found: dict[str, Any] = {}
    for name in part:
        what, _, pair = name.rpartition("_")
        if what == "iou":
            found[name] = box_iou(boxes[pair[0]], boxes[pair[1]])
        if what == "wall_distance":
            found[name] = wall_distance(boxes[pair[0]], boxes[pair[1]], spacing=spacing)
    return among(found, part, about={"a", "b", "c", "spacing", "note"})


def _file_grid(axes: str, shape: list[int]) -> Grid:
    orientation = nib.orientations.axcodes2ornt(axes)  # type: ignore[no-untyped-call]
    from_ras = inv_ornt_aff(orientation, shape)  # type: ignore[no-untyped-call]
    return Grid((shape[0], shape[1], shape[2]), np.linalg.inv(from_ras))


def _orientation(part: Case, case: Case) -> float:
    """Upstream takes the matrix that leads from the file to LAS for the one that leads back.

    For flips both are the same. Of permuted axes it is the right matrix for a file with the inverse permutation, of
    which its wrong one is answered here.
    """
    points = np.array(part["points_zyx_in_LAS"], float)
    far = []
    for row in part["cases"]:
        matrix = las_to_file(_file_grid(_inverse_axes(row["file_axes"]), row["file_shape"]))
        placed = points[:, ::-1] @ matrix[:3, :3].T + matrix[:3, 3]
        found = {"matrix": matrix, "zyx": placed[:, ::-1]}
        far.append(among(found, row, about={"file_axes", "file_shape"}))
    return max(far)


def _inverse_axes(axes: str) -> str:
    """A file whose axis p(a) is LAS axis a, where in `axes` the axis a is LAS axis p(a); a flip goes with p(a)."""
    pairs = ("LR", "AP", "SI")
    found = []
    for pair in pairs:
        place = next(n for n, letter in enumerate(axes) if letter in pair)
        found.append(pairs[place][pair.index(axes[place])])
    return "".join(found)


def _localisation(part: Case, case: Case) -> float:
    shape, salt = part["volumes"]["shape"], part["network"]["salt"]
    network = _few_shot_network(part["network"])
    images = {name: _image(shape, salt=salt, name=name) for name in part["volumes"]["names"]}
    labels = {name: _labels(shape, rows) for name, rows in part["labels"].items()}
    values = sorted({int(value) for rows in part["labels"].values() for value in rows})
    half = np.array(network.config.patch) // 2
    query = next(image for name, image in images.items() if name not in labels)
    reach = part["distance_ratio_mm"]
    anchor = anchor_of(network, query, centres=np.array(part["query_patch_centres_padded"]) - half)
    far = []
    for wanted in part["results"].values():
        structures = describe(
            network,
            (images[name] for name in labels),
            list(labels.values()),
            names={value: str(value) for value in values},
            slice_interval=int(wanted["slice_interval"] or 0),
        )
        found = {s.name: localise(network, query, anchor, s, reach=reach) for s in structures}
        plain = {s.name: localise(network, query, anchor, s, refine=False, reach=reach) for s in structures}
        far.append(_results(wanted, part["query_file"], structures, anchor.position, found, plain))
    return max(far)


def _few_shot_network(row: Case) -> MedLam:
    shape = {"base_channels": row["base_channels"], "patch_size": (row["patch"],) * 3, "in_channels": 1, "classes": 3}
    network = _medlam(shape)
    state = draw_state({"salt": row["salt"], "state": row["state"]})
    if "after_drawing" in row:
        key, scale = row["after_drawing"].split(" is multiplied by ")
        state[key] = state[key] * float(scale)
    network.load_state_dict(state)
    return network


def _image(shape: list[int], *, salt: str, name: str) -> NDArray[np.float32]:
    z, y, x = np.indices(shape)
    noise = uniform(int(np.prod(shape)), salt=salt, name=name).reshape(shape)
    smooth = 0.5 + 0.35 * np.sin(z / 9 + 0.3) * np.cos(y / 7) * np.sin(x / 11 + 0.5)
    return np.asarray(0.7 * smooth + 0.3 * noise, np.float32)


def _labels(shape: list[int], rows: Case) -> NDArray[np.uint8]:
    labels = np.zeros(shape, np.uint8)
    for value, row in rows.items():
        labels[_ellipsoid(shape, row)] = int(value)
    return labels


def _results(
    wanted: Case,
    file: Case,
    structures: list[Structure],
    position: Tensor,
    found: Mapping[str, Found],
    plain: Mapping[str, Found],
) -> float:
    """What is recorded of a mode; refined points are compared where their margins are sure, boxes where all six are.

    The margins themselves are differences of two float32 sums, and say no more than what is compared.
    """
    i, j, k = file["shape_xyz"]
    z, y, x = file["zoom_factor_zyx"]
    space = WorkingSpace(grid=_file_grid(file["axes"], [i, j, k]), zoom=(z, y, x))
    answers: dict[str, Any] = {
        "support_position": {s.name: s.positions for s in structures},
        "query_position_mean": position,
        "relative_mm": {name: one.relative for name, one in found.items()},
        "similarity_step_voxels": {name: one.steps for name, one in found.items()},
        "extremes_zyx_file": {name: _extremes(one, space) for name, one in found.items()},
        "corners_zyx_file": {name: [corners_of(e) for e in _extremes(one, space)] for name, one in found.items()},
        "corners_without_similarity_step": {
            name: [corners_of(e) for e in _extremes(one, space)] for name, one in plain.items()
        },
    }
    for name, margins in wanted.get("similarity_margin", {}).items():
        unsure = np.array(margins) < SURE
        groups = unsure.reshape(-1, 6).any(1)
        for what, mask in (
            ("similarity_step_voxels", unsure),
            ("extremes_zyx_file", groups),
            ("corners_zyx_file", groups),
        ):
            if what in wanted:
                ours, theirs = (np.array(one[what][name], float) for one in (answers, wanted))
                ours[mask] = theirs[mask]
                answers[what][name] = ours
    return among(answers, wanted, about={"slice_interval", "similarity_margin"})


def _extremes(found: Found, space: WorkingSpace) -> list[NDArray[np.float64]]:
    return [space.extremes_in_file(group) for group in found.points.reshape(-1, 6, 3)]


def _loss(part: Case, case: Case) -> float:
    """Four patches: deformed 0 and 1, original 0 and 1; predictions, positions and points are explicit."""
    salt = part["salt"]
    sizes = {"pfc": (2, 3), "pf0": (2, 4, 4, 4, 4), "pf1": (2, 4, 8, 8, 8), "pf2": (2, 4, 16, 16, 16)}

    def drawn(name: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        values = uniform(int(np.prod(shape)), salt=salt, name=name) * (high - low) + low
        return torch.from_numpy(values.reshape(shape).astype(np.float32))

    positions, features = [], []
    for patch in "abcd":
        fc = drawn(f"{patch}fc", sizes["pfc"], -0.2, 0.2)
        positions.append(fc)
        features.append(Features(*(drawn(f"{patch}f{n}", sizes[f"pf{n}"], -1, 1) for n in range(3))))
    wanted = drawn("lbl", (2, 3), -100, 100)
    grid = torch.stack(torch.meshgrid(*[torch.arange(16.0)] * 3, indexing="ij")) * 3
    offsets = {"deformed": ([6, 3, 0], [0, -3, 6]), "original": ([0, 0, 0], [3, 3, 3])}
    places = {
        name: [
            (grid + torch.tensor(one, dtype=torch.float32)[:, None, None, None]).expand(2, -1, -1, -1, -1)
            for one in rows
        ]
        for name, rows in offsets.items()
    }
    pairs = torch.tensor(list(part["points"].values()))  # (pairs, 2, 3)
    scales = {"near": part["threshold"], "temperature": part["temperature"]}
    reach = part["distance_ratio"]
    terms = []
    for n in range(2):
        points = pairs[:, n]
        z, y, x = points.unbind(1)
        gaps = gaps_to(places["original"][n][:, :, z, y, x].transpose(1, 2), places["deformed"][n])
        terms.append(similarity_loss(features[2 + n], features[n], gaps, points, **scales))
    distance, similarity = distance_loss(positions[2], positions[3], wanted, reach=reach), torch.stack(terms).sum()
    found = {
        "predicted_mm": distances(positions[2], positions[3], reach=reach),
        "distance_loss": distance.item(),
        "similarity_loss": similarity.item(),
        "total": (distance + similarity).item(),
    }
    about = {"salt", "arrays", "positions", "points", "distance_ratio", "threshold", "temperature", "note"}
    return among(found, part, about=about)

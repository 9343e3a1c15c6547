"""Pictures of models for volumes: what a small network learned on phantoms, beside the truth."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

import omlab
from omlab_volume.labels import Label
from omlab_volume.orientation import canonical_grid
from omlab_volume.pictures.picture import picture
from omlab_volume.pictures.planes import planes
from omlab_volume.volume import LabelMap, Volume
from tools.pictures.drawing import beside, curve, of_array

PHANTOM = "abdomen-phantom"
DATA = {"train": 8, "test": 1, "scale": 0.6}
HEIGHT = 380

Made = tuple[Image.Image, str]


def segmented(model: str, folder: Path, settings: Mapping[str, Any]) -> Made:
    """What `model` segments in a phantom that it has not seen, after a training on eight others."""
    mine = learned(model, folder, recipe="segmentation", settings=settings)
    sample = case(folder)
    answer: Any = omlab.load_model(mine, device="cpu").predict(sample.inputs["volume"])
    drawn = _opened(picture(sample.inputs["volume"], answer, target=sample.target))
    return with_curve(drawn, mine), (
        "A small network of this form after a short training on eight drawn phantoms: its answer (filled) in one that "
        "it has not seen, beside the truth (outlined), and its loss. Not the published weights, and no patient"
    )


def clicked(model: str, folder: Path, settings: Mapping[str, Any]) -> Made:
    """What a promptable `model` gives for clicks into a phantom that it has not seen."""
    from omlab_prompts.prompts import Object, Point, Prompts

    mine = learned(model, folder, recipe="clicks", settings=settings)
    sample = case(folder)
    volume, truth = sample.inputs["volume"], sample.target
    name = "kidney_left"
    at = inside(truth, name)
    prompts = Prompts(space="ras", objects=(Object(name=name, points=(Point(at=at),)),))
    answer: Any = omlab.load_model(mine, device="cpu").predict(volume, prompts=prompts)
    drawn = _opened(picture(volume, answer, target=only(truth, name), prompts=[prompts]))
    return with_curve(drawn, mine), (
        "One click into a kidney of a drawn phantom: the answer (filled) of a small network of this form after a "
        "short training on eight others, the truth (outlined), and its loss. Not the published weights, and no patient"
    )


def clicked_slices(model: str, folder: Path, settings: Mapping[str, Any]) -> Made:
    """What a promptable `model` of slices gives for a click, on the slices that were clicked."""
    from omlab_prompts.prompts import Object, Point, Prompts

    mine = learned(model, folder, recipe="clicks", settings=settings)
    sample, session = case(folder), omlab.load_model(mine, device="cpu")
    volume, truth = sample.inputs["volume"], sample.target
    panels, names = [], []
    for name, called in (("liver", "liver"), ("spleen", "spleen"), ("kidney_left", "left kidney")):
        at = inside(truth, name)
        prompts = Prompts(space="ras", objects=(Object(name=name, points=(Point(at=at),)),))
        answer: Any = session.predict(volume, prompts=prompts)
        voxel = canonical_voxel(volume, at)
        panel = planes(volume, answer, target=only(truth, name), at=voxel, height=HEIGHT)[0]
        image = Image.fromarray(panel.picture)
        x, y = panel.place(voxel)
        ImageDraw.Draw(image).ellipse((x - 5, y - 5, x + 5, y + 5), outline="black", fill="white", width=2)
        panels.append(image)
        names.append(f"a click into the {called}")
    return beside(*panels, curve_of(mine), names=(*names, ""), height=HEIGHT), (
        "The slices of a drawn phantom that were clicked (white): the answers (filled) of a small network of this form "
        "after a short training on eight others, the truth (outlined), and its loss. Not the published weights, and no "
        "patient"
    )


def canonical_voxel(volume: Any, at: tuple[float, ...]) -> tuple[int, int, int]:
    """The voxel at a place in mm, along the closest RAS+ axes."""
    import numpy as np

    i, j, k = np.rint(np.linalg.solve(canonical_grid(volume.grid).affine, [*at, 1.0]))[:3].astype(int).tolist()
    return i, j, k


def learned(model: str, folder: Path, *, recipe: str, settings: Mapping[str, Any]) -> Path:
    """The folder of an adapted model, trained on phantoms."""
    mine = folder / model
    omlab.adapt(
        f"{model}.untrained",
        PHANTOM,
        root=folder / "phantom",
        recipe=recipe,
        output=mine,
        settings={**{f"data.{name}": value for name, value in DATA.items()}, **settings},
        device="cpu",
    )
    return mine


def case(folder: Path) -> Any:
    """A phantom that no training saw."""
    data = omlab.load_dataset(PHANTOM, root=folder / "phantom", settings=DATA)
    data.prepare()
    return data.cases("test")[0].load()


def with_curve(drawn: Image.Image, mine: Path) -> Image.Image:
    """A picture with the training's loss to its right."""
    return beside(drawn, curve_of(mine), height=HEIGHT)


def curve_of(mine: Path) -> Image.Image:
    """The loss of an adapted model's training by epoch."""
    history = json.loads((mine / "history.json").read_text(encoding="utf-8"))
    return curve([row["loss"] for row in history], name="loss", height=HEIGHT)


def inside(truth: Any, name: str) -> tuple[float, ...]:
    """The place in mm (RAS+) deepest inside of a structure."""
    import numpy as np
    from scipy.ndimage import distance_transform_edt  # type: ignore[import-untyped]

    value = next(label.value for label in truth.labels if label.name == name)
    depth = distance_transform_edt(truth.array == value)
    index = np.unravel_index(depth.argmax(), depth.shape)
    return tuple(float(x) for x in (truth.affine @ [*index, 1.0])[:3])


def only(truth: Any, name: str) -> Any:
    """A label map with one of its structures."""
    from dataclasses import replace

    value = next(label.value for label in truth.labels if label.name == name)
    return replace(truth, array=(truth.array == value).astype(truth.array.dtype) * value)


def _opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def threads(model: str, folder: Path) -> Made:
    """Axons in a drawn cube that the network has not seen: brightest voxels along one axis."""
    import numpy as np

    table = folder / "axons" / "cubes.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    rows, affine = ["id,volume,target,split"], np.eye(4)
    for number in range(14):
        image, label = axons(number)
        omlab.write(Volume(array=image[None], affine=affine), table.parent / f"v{number}.nii.gz")
        omlab.write(
            LabelMap(array=label, labels=(Label(value=1, name="axon"),), affine=affine),
            table.parent / f"t{number}.nii.gz",
        )
        rows.append(f"c{number},v{number}.nii.gz,t{number}.nii.gz,{'train' if number < 13 else 'test'}")
    table.write_text("\n".join(rows), encoding="utf-8")
    mine = folder / model
    settings = {"epochs": 10, "steps_per_epoch": 30, "learning_rate": 0.003, "windows": 4, "patch_size": [16, 16, 16]}
    omlab.adapt(
        f"{model}.untrained", f"cases:{table}", recipe="segmentation", output=mine, settings=settings, device="cpu"
    )
    volume: Any = omlab.read(table.parent / "v13.nii.gz")
    answer: Any = omlab.load_model(mine, device="cpu").predict(volume)
    flat = (volume.array[0].max(axis=2), axons(13)[1].max(axis=2), answer.array.max(axis=2) > 0)
    panels = [of_array((one - one.min()) / max(one.max() - one.min(), 1), side=HEIGHT) for one in map(np.float32, flat)]
    names = ("a drawn cube", "its threads, the truth", "what was found", "")
    return beside(*panels, curve_of(mine), names=names, height=HEIGHT), (
        "Bright threads among round artefacts in a drawn cube: what a small network of this form found after "
        "a short training on others, beside the truth, and its loss. Not the published weights, and no brain"
    )


def axons(seed: int, *, side: int = 32, axons: int = 4) -> tuple[Any, Any]:
    """Threads of a random walk on a noisy ground among round artefacts, (side,) * 3, and which voxels are threads."""
    import numpy as np
    from scipy import ndimage  # type: ignore[import-untyped]

    draws = np.random.default_rng(seed)
    thread = np.zeros((side,) * 3, bool)
    for _ in range(axons):
        place, step = draws.uniform(4, side - 4, 3), draws.normal(size=3)
        for _ in range(3 * side):
            step = step + 0.3 * draws.normal(size=3)
            place = place + step / np.linalg.norm(step)
            if not ((place >= 0) & (place < side)).all():
                break
            thread[tuple(place.astype(int))] = True
    thread = ndimage.binary_dilation(thread)
    blob = np.zeros_like(thread)
    for centre in draws.integers(0, side, (3, 3)):
        grid = np.ogrid[:side, :side, :side]
        blob |= sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) < draws.uniform(9, 25)
    bright = ndimage.gaussian_filter((thread | blob).astype(float), 0.7)
    image = 300 + 900 * bright + 120 * draws.normal(size=thread.shape)
    return image.astype(np.float32), (thread & ~blob).astype(np.uint8)

"""MedSAM as a model of omlab: boxes in a picture, or in a volume slice by slice, become label maps.

session = omlab.load_model("medsam-volume")
labels = session.predict(omlab.read("ct.nii.gz"), prompts=omlab.read("boxes.json", kind="prompts"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import omlab
from omlab import progress
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import InputError, OmlabError, SettingsError
from omlab.payloads import Inputs
from omlab.weights import Weights
from omlab_image.image import Image, LabelMap2D
from omlab_medlsam.boxed import BoxSegmenter
from omlab_prompts.prompts import Prompts
from omlab_sam.network import VARIANTS, Sam
from omlab_sam.weights import load_sam
from omlab_volume.inference.claims import Claims
from omlab_volume.labels import labels_from_names
from omlab_volume.orientation import canonical_array, canonical_grid, reorient_labels
from omlab_volume.volume import LabelMap, Volume

TINY: dict[str, Any] = {
    "image_size": 128,
    "embed_dim": 48,
    "depth": 2,
    "num_heads": 3,
    "global_attn_indexes": (1,),
    "window_size": 5,
    "out_chans": 32,
}
"""Of the cards whose name begins with `medsam-tiny`."""

_WINDOW = (40.0, 400.0)
"""Centre and width in HU of what is shown of a CT."""
_PERCENTILES = (0.5, 99.5)


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> MedSam:
    """The entry of the cards. The size of the network comes from the file, where there is one.

    Raises:
        WeightsError: The file cannot be read or is another network's; names the keys.
        SettingsError: `image_size` cannot be.
    """
    if weights is not None:
        sam = load_sam(weights.state_dict(), source=weights.path())
    else:
        shape = TINY if card.name.startswith("medsam-tiny") else {**VARIANTS["vit_b"], "image_size": 1024}
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                sam = Sam(**{**shape, "image_size": settings["image_size"] or shape["image_size"]})
        except ValueError as error:
            raise SettingsError(f"image_size cannot be {settings['image_size']}: {error}") from None
    return MedSam(sam, legacy=settings["legacy"], device=device)


class MedSam:
    """A network with the verb `predict`, of pictures or of volumes.

    Args:
        module: The network.
        legacy: As `BoxSegmenter` has it.
        device: "cpu", "cuda" or "cuda:N".
    """

    def __init__(self, module: Sam, *, legacy: bool, device: str) -> None:
        self.module = module.eval().to(device)
        self.segmenter = BoxSegmenter(sam=self.module, legacy=legacy)

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMap | LabelMap2D | OmlabError]:
        """The objects of `prompts` as labels 1, 2, ... in their order, on the grid of the picture or volume.

        A box that spans several slices of a volume is a box on each of them. Where objects claim the same place the
        surest has it. A case fails with an `InputError` for a volume of several channels or values that are not finite.
        """
        return one_by_one(batch, self._segmented)

    def _segmented(self, inputs: Inputs) -> LabelMap | LabelMap2D:
        prompts = omlab.take(inputs, "prompts", Prompts)
        if "volume" in inputs:
            return segment_volume(self.segmenter, omlab.take(inputs, "volume", Volume), prompts)
        return segment_image(self.segmenter, omlab.take(inputs, "image", Image), prompts)


def segment_image(segmenter: BoxSegmenter, image: Image, prompts: Prompts) -> LabelMap2D:
    """The objects of a picture. Raises `InputError`, `GeometryError` where picture or boxes cannot be used."""
    if not image.is_finite():
        raise InputError(f"{image.name or 'The image'} has pixels that are NaN or infinite.")
    objects = prompts.in_pixels(shape=image.shape, image=str(prompts.image or image.name or "the image")).objects
    boxes = np.array([(*box.near, *box.far) for entry in objects for box in entry.boxes], np.float64)
    values = np.array([n for n, entry in enumerate(objects, start=1) for _ in entry.boxes])
    claims = Claims(image.shape, objects=len(objects), logits=False)
    found = segmenter.probabilities(segmenter.encode(image.eight_bit()), boxes, shape=image.shape)
    for value, probability in zip(values, found.float().cpu().numpy(), strict=True):
        claims.claim(probability, label=value)
    names = [entry.name for entry in objects]
    return LabelMap2D(
        array=claims.labels,
        names=dict(enumerate(names, start=1)),
        spacing=image.spacing,
        facts=claims.facts(names, voxel_ml=None),
    )


def segment_volume(segmenter: BoxSegmenter, volume: Volume, prompts: Prompts) -> LabelMap:
    """The objects of a volume, axial slice by slice; each slice with a box is encoded once.

    Raises `InputError`, `GeometryError` where volume or boxes cannot be used.
    """
    if volume.channels != 1 or not volume.is_finite():
        why = f"{volume.channels} channels, but one is needed" if volume.channels != 1 else "values that are not finite"
        raise InputError(f"{volume.name or 'The volume'} has {why}.")
    grid = canonical_grid(volume.grid)
    shown = _shown(canonical_array(volume.array[0], volume.grid))
    low, high = _range(volume)
    image = str(prompts.image or volume.name or "the volume")
    voxels = prompts.in_voxels(volume.affine.tolist(), shape=volume.grid.shape, image=image)
    turned = np.linalg.inv(grid.affine) @ volume.affine  # an exchange of axes, but for rounding
    objects = voxels.moved(np.round(turned).tolist(), space="voxel", image=image).objects
    rows = _boxes_by_slice([[(box.near, box.far) for box in entry.boxes] for entry in objects], shape=grid.shape)
    claims = Claims(shown.shape, objects=len(objects), logits=False)
    with progress.bar("slices", total=len(rows)) as advance:
        for at, found in rows.items():
            pixels = 255 * np.clip((shown[at].astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)
            boxes, values = (np.array(part) for part in zip(*found, strict=True))
            embedding = segmenter.encode(np.floor(pixels))
            probabilities = segmenter.probabilities(embedding, boxes, shape=pixels.shape).float().cpu().numpy()
            for value, probability in zip(values, probabilities, strict=True):
                claims.claim(probability, label=value, at=at)
            advance(1)
    names = [entry.name for entry in objects]
    return LabelMap(
        array=reorient_labels(_shown(claims.labels.transpose(2, 1, 0)).transpose(2, 1, 0), volume.grid),
        affine=volume.affine,
        labels=labels_from_names(names),
        facts=claims.facts(names, voxel_ml=grid.voxel_ml),
    )


def _shown(array: NDArray[Any]) -> NDArray[Any]:
    """A view of (x, y, z) along RAS+ as axial slices (z, rows, columns): front above, the right on the left."""
    return np.flip(array, (0, 1)).transpose(2, 1, 0)


def _boxes_by_slice(
    objects: Sequence[Sequence[tuple[tuple[float, ...], tuple[float, ...]]]], *, shape: tuple[int, int, int]
) -> dict[int, list[tuple[list[float], int]]]:
    """For each slice its boxes (x0, y0, x1, y1) as it is shown, and the label of each."""
    right, front = shape[0] - 1, shape[1] - 1
    rows: dict[int, list[tuple[list[float], int]]] = {}
    for value, boxes in enumerate(objects, start=1):
        for near, far in boxes:
            first, last = (int(n) for n in np.rint(np.round([near[2], far[2]], 6)).clip(0, shape[2] - 1))
            corners = [right - far[0], front - far[1], right - near[0], front - near[1]]
            for at in range(first, last + 1):
                rows.setdefault(at, []).append((corners, value))
    return dict(sorted(rows.items()))


def _range(volume: Volume) -> tuple[float, float]:
    """The intensities of black and white."""
    if volume.intensity == "hu":
        centre, width = _WINDOW
        return centre - width / 2, centre + width / 2
    values = volume.array[0].ravel()
    low, high = np.percentile(values[:: max(1, values.size >> 21)], _PERCENTILES)
    return float(low), float(high)

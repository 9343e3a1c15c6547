"""Axons of whole brains, too large for memory: a big volume in, a big label map out, computed while it is written.

brain = omlab.read("brain/", kind="big-volume")                  # a folder of TIFF slices, or OME-Zarr
axons = omlab.load_model("axonseg", weights="joint.model").predict(brain)
omlab.write(axons, "axons.ome.zarr")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import omlab
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import InputError, OmlabError, SettingsError
from omlab.payloads import Inputs
from omlab.weights import Weights
from omlab_axonseg.axon_networks import AxonNetwork
from omlab_axonseg.model import AXON, network_for, window_for
from omlab_axonseg.tiling import Tiling
from omlab_volume.big.payloads import BigLabelMap, BigVolume
from omlab_volume.big.voxels import Computed, Region
from omlab_volume.inference.tally import Tally
from omlab_volume.volume import Label


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> BrainModel:
    """The entry of the cards `axonseg` and `axonseg-tiny`. Raises `WeightsError` and `SettingsError`."""
    network = network_for(card, weights=weights, settings=settings, config=config)
    tiny = card.name.endswith("-tiny")
    return BrainModel(network, window=window_for(network, tiny=tiny)[0], tiny=tiny, device=device, settings=settings)


class BrainModel:
    """A network led over brains: the verb `predict`.

    Args:
        module: The network, for one or two outputs.
        window: Voxels a side that it takes.
        tiny: Whether the window is small, so that the published overlap does not fit it.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    def __init__(
        self, module: AxonNetwork, *, window: int, tiny: bool, device: str, settings: Mapping[str, Any]
    ) -> None:
        layout = torch.channels_last_3d if torch.device(device).type == "cuda" else torch.contiguous_format
        self.module: AxonNetwork = module.eval().to(device, memory_format=layout)  # type: ignore[call-overload]
        self.device, self.threshold = device, int(settings["threshold"])
        overlap = int(settings["overlap"])
        if 2 * overlap >= window:
            if not tiny:
                raise SettingsError(f"overlap is {overlap}, which leaves nothing of a window of {window} voxels.")
            overlap = window // 6
        skip = float(settings["empty_up_to"]) if settings["skip_empty"] else None
        self.tiling = Tiling(window=window, overlap=overlap, normalise=settings["normalise"], skip_below=skip)

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[BigLabelMap | OmlabError]:
        """The axons of each big volume, on its grid; nothing is computed before it is written or read."""
        return one_by_one(batch, lambda inputs: self.axons(omlab.take(inputs, "volume", BigVolume)))

    def axons(self, volume: BigVolume) -> BigLabelMap:
        """The axons of one volume. Raises `InputError` for several channels."""
        if volume.channels != 1:
            name = volume.source.name if volume.source else "The volume"
            raise InputError(f"{name} has {volume.channels} channels: the network takes one, that of the axons.")
        i, j, k = volume.grid.shape
        places = self.tiling.places((k, j, i))
        regions: list[Region] = [(x, y, z) for z, y, x in places]
        labels: tuple[Label, ...] = AXON
        tally = Tally(labels, classes=2, voxel_ml=volume.grid.voxel_ml, blocks=len(places))
        computed = Computed(
            shape=(1, i, j, k),
            dtype=np.dtype(np.uint8),
            chunks=(self.tiling.step,) * 3,
            regions=regions,
            compute=_Rows(self, volume, tally).blocks,
            counted=tally,
        )
        return BigLabelMap(voxels=computed, affine=volume.affine, labels=labels, source=volume.source)

    def scores(self, image: Tensor) -> Tensor:
        """The network's logits of a window."""
        with torch.autocast("cuda", torch.float16, enabled=image.is_cuda):
            logits: Tensor = self.module(image)
        return logits.float()


class _Rows:
    """The blocks (1, i, j, k) of one volume."""

    def __init__(self, model: BrainModel, volume: BigVolume, tally: Tally) -> None:
        self.model, self.volume, self.tally = model, volume, tally

    def blocks(self, first: int) -> Iterator[NDArray[Any]]:
        """The blocks from number `first` on."""
        i, j, k = self.volume.grid.shape
        model, tally = self.model, self.tally.begin(first)
        own = model.tiling.own((k, j, i))[first:]
        rows = model.tiling.rows(model.scores, self._read, shape=(k, j, i), begin=first, device=model.device)
        for row, part in zip(rows, own, strict=True):
            found = (row > model.threshold).astype(np.uint8)
            tally.add_decided(found[part], row[part] / np.float32(255))
            tally.end_block()
            yield found.transpose(2, 1, 0)[None]

    def _read(self, z: slice, y: slice, x: slice) -> NDArray[Any]:
        """A box as the network counts: slice, row, column; what is not finite is 0."""
        box = self.volume.read((x, y, z))[0].transpose(2, 1, 0)
        return np.asarray(np.nan_to_num(box, posinf=0, neginf=0) if box.dtype.kind == "f" else box)

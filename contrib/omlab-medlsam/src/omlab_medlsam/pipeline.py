"""MedLSAM as a model of omlab: a CT volume and a support in, a label map on its grid out, no click at all.

MedLAM finds boxes; any model that takes boxes in volumes makes masks of them (the card's need `segmenter`).

session = omlab.load_model("medlsam")
labels = session.predict(omlab.read("ct.nii.gz"), support=omlab.read("supports.csv", kind="support"))
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import omlab
from omlab.card_schema import ModelCard
from omlab.errors import OmlabError, PluginError, UsageError
from omlab.roles import About
from omlab.session import Session
from omlab.weights import Weights
from omlab_medlsam.localiser import Placed
from omlab_medlsam.model import MedLamModel, Query, network_of
from omlab_medlsam.network import MedLam
from omlab_medlsam.supports import Support
from omlab_prompts.prompts import Box, Object, Prompts
from omlab_volume.labels import smallest_unsigned
from omlab_volume.orientation import canonical_order
from omlab_volume.volume import LabelMap, Volume


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Session],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> MedLsam:
    """The entry of the cards `medlsam`.

    Raises:
        WeightsError: The file is another network's than MedLAM's; names the keys.
        SettingsError: `patch_size` cannot be.
        UsageError: The segmenter takes no boxes in volumes.
    """
    network = network_of(card, weights=weights, settings=settings, config=config)
    return MedLsam(network, segmenter=needs["segmenter"], batch_size=settings["batch_size"], device=device)


class MedLsam(MedLamModel):
    """MedLAM before a segmenter: the verb `predict`, and MedLAM's recipe.

    Args:
        module: MedLAM.
        segmenter: A session whose `predict` takes a volume and prompts that are boxes, and gives a label map.
        batch_size: Patches that go through MedLAM at once.
        device: "cpu", "cuda" or "cuda:N".
    """

    def __init__(self, module: MedLam, *, segmenter: Session, batch_size: int, device: str) -> None:
        super().__init__(module, batch_size=batch_size, device=device)
        check_segmenter(segmenter)
        self.segmenter = segmenter

    def predict(
        self, batch: Sequence[Query], /, *, slice_interval: int, refine: bool, seed: int, margin: float
    ) -> Iterator[LabelMap | OmlabError]:
        """The support's structures in each volume, with the labels that they have in the support.

        A case fails as `localise` says, or as the segmenter says.
        """
        self.module.eval()
        for query in batch:
            volume = omlab.take(query.inputs, "volume", Volume)
            support = omlab.take(query.inputs, "support", Support)
            try:
                placed = self.localiser.place(
                    self.module, query.copy, support, slice_interval=slice_interval, refine=refine, seed=seed
                )
                known = self.localiser.reference(self.module, support, slice_interval=slice_interval).labels
                prompts = prompts_of(placed, volume, margin=margin)
                found = self.segmenter.predict(volume=volume, prompts=prompts)
            except OmlabError as error:
                yield error
                continue
            if not isinstance(found, LabelMap):
                raise PluginError(f"The segmenter '{self.segmenter.name}' gave no label map.")
            values = np.array([0, *(one.value for one in placed)])
            array = smallest_unsigned(values, what="the labels of the support")[found.array]
            yield replace(found, array=array, labels=known, facts=_with_likeness(found.facts, placed))

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> MedLsam:
        """A copy: there are no targets, so that nothing else changes."""
        return MedLsam(
            copy.deepcopy(self.module),
            segmenter=self.segmenter,
            batch_size=self.localiser.batch_size,
            device=self.device,
        )


def check_segmenter(segmenter: Session) -> None:
    """Raise `UsageError` where a session does not make label maps of boxes in volumes."""
    card = segmenter.card
    facts = card.does.get("predict")
    takes = {} if facts is None else facts.kinds
    accepted = [] if facts is None else facts.accepts.get("prompts", ["boxes"])
    if (
        facts is None
        or takes.get("volume") != Volume.kind
        or takes.get("prompts") != Prompts.kind
        or facts.gives != LabelMap.kind
        or "boxes" not in accepted
    ):
        other = f": take its form for volumes ({', '.join(card.also)})" if card.also else ""
        raise UsageError(
            f"'{segmenter.name}' cannot be the segmenter of MedLSAM, which hands it a volume and boxes{other}."
        )


def prompts_of(placed: Sequence[Placed], volume: Volume, *, margin: float) -> Prompts:
    """Boxes of structures as prompts for a volume.

    Args:
        placed: Where the structures are.
        volume: Which they are in.
        margin: How far boxes are widened within axial slices, on each side, as a share of the slice's size.
    """
    wider = np.round(margin * np.array(volume.grid.shape))
    wider[canonical_order(volume.affine).axes[2]] = 0
    last = np.array(volume.grid.shape) - 1
    objects = [
        Object(name=_name(one, placed), boxes=tuple(_box(corners, wider, last=last) for corners in one.corners))
        for one in placed
    ]
    return Prompts(space="voxel", image=volume.name or "the volume", objects=tuple(objects))


def _with_likeness(facts: Mapping[str, Any], placed: Sequence[Placed]) -> dict[str, Any]:
    """What the segmenter says of each structure, with how alike the points of its boxes are to the support's."""
    if "structures" not in facts:
        return dict(facts)
    structures = {name: dict(told) for name, told in facts["structures"].items()}
    for one in placed:
        told = structures.get(_name(one, placed))
        if told is not None and one.likeness:
            told["likeness"] = round(float(np.mean(one.likeness)), 5)
    return {**facts, "structures": structures}


def _name(one: Placed, placed: Sequence[Placed]) -> str:
    """What it is called, with its label where another one is called alike."""
    alike = sum(other.name == one.name for other in placed) > 1
    return f"{one.name} ({one.value})" if alike else one.name


def _box(corners: NDArray[np.int_], wider: NDArray[np.float64], *, last: NDArray[np.int_]) -> Box:
    low, high = (corners[0] - wider).clip(0, last), (corners[1] + wider).clip(0, last)
    return Box(near=tuple(map(float, low)), far=tuple(map(float, high)))

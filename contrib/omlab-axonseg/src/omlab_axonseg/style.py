"""Style transfer as a model of omlab: a brain in, the same brain in the style of the atlas's template out.

session = omlab.load_model("brain-style", weights="latest_net_G_A.pth")
session.convert(omlab.read("brain.nii.gz"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch.nn import functional

import omlab
from omlab import progress
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import OmlabError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_axonseg.region_slices import from_atlas
from omlab_axonseg.style_networks import TINY, CycleGan, StyleConfig, untrained
from omlab_axonseg.style_slices import CORONAL, checked_brain, prepared
from omlab_volume.volume import Volume


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> StyleModel:
    """The entry of the cards `brain-style*`. Raises `WeightsError`."""
    own = TINY if card.name.endswith("-tiny") else StyleConfig()
    network = untrained(own if config is None else _from_config(config))
    if weights is not None:
        state = weights.state_dict()
        alone = any(key.startswith("model.") for key in state)  # a generator's own file, as upstream writes it
        weights.load(network.netG_A if alone else network, state=state)
    return StyleModel(network, device=device, settings=settings)


class StyleModel:
    """The networks: the verb `convert`, and the recipe `style`."""

    def __init__(self, module: CycleGan, *, device: str, settings: Mapping[str, Any]) -> None:
        self.module = module.eval().to(device)
        self.settings = dict(settings)

    @property
    def device(self) -> str:
        """Where the networks are."""
        return str(next(self.module.parameters()).device)

    def convert(self, batch: Sequence[Inputs], /) -> Iterator[Volume | OmlabError]:
        """Each volume in the reference's style, from 0 to 1, on its grid."""
        return one_by_one(batch, lambda inputs: self.converted(omlab.take(inputs, "volume", Volume)))

    def converted(self, volume: Volume) -> Volume:
        """One volume, coronal slice by slice. Raises `InputError` for several channels, or voxels not finite."""
        brain = checked_brain(volume)
        out = np.zeros(brain.shape, np.float32)
        slices, goal = np.moveaxis(brain, CORONAL, 0), np.moveaxis(out, CORONAL, 0)
        many = self.settings["batch_size"]
        with torch.inference_mode(), progress.bar("slices", total=len(slices)) as advance:
            for first in range(0, len(slices), many):
                part = torch.from_numpy(np.array(slices[first : first + many], np.float32, order="C"))[:, None]
                made = self.module.eval().netG_A(prepared(part.to(self.device), self.module.config))
                own = functional.interpolate(made, size=part.shape[2:], mode="bilinear", align_corners=False)
                goal[first : first + len(part)] = own[:, 0].clamp(0, 1).cpu().numpy()
                advance(len(part))
        return Volume(array=from_atlas(out, volume.grid)[None], affine=volume.affine, source=volume.source)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to output: the networks side by side."""
        parts: dict[int, list[str]] = {}
        for name, _ in self.module.named_parameters():
            parts.setdefault(int(name.split(".")[2]), []).append(name)
        return [parts[number] for number in sorted(parts)]

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> StyleModel:
        """A copy, as it is."""
        network = CycleGan(self.module.config)
        network.load_state_dict(self.module.state_dict())
        return StyleModel(network, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Training on brains and references that belong to nothing of each other (`omlab_axonseg.style_training`)."""
        from omlab_axonseg.style_training import style

        return style(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON."""
        shape = asdict(self.module.config)
        return {"network": {**shape, "sizes": list(shape["sizes"])}}


def _from_config(config: Mapping[str, Any]) -> StyleConfig:
    try:
        rows, columns = config["network"]["sizes"]
        return StyleConfig(**{**config["network"], "sizes": (int(rows), int(columns))})
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"The configuration is not one of a style transfer ({error}).") from error

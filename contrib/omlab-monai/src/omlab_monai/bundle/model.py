"""A MONAI bundle as a model: a volume in, a label map on its grid out.

omlab predict monai-bundle ct.nii.gz --weights spleen_ct_segmentation/ -o spleen.nii.gz
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import omlab
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import InputError, OmlabError, OmlabWarning, WeightsError, first_line
from omlab.payloads import Inputs
from omlab.weights import Weights
from omlab_monai.bundle.allowed import made
from omlab_monai.bundle.config import Config
from omlab_monai.bundle.pipeline import Pipeline, channels_in, names_of, pipeline_of
from omlab_volume.labels import default_colour, smallest_unsigned
from omlab_volume.volume import Label, LabelMap, Volume

_CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
_CHECKPOINTS = ("models/model.pt", "models/model.pth", "models/model.safetensors")


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> BundleModel:
    """The entry of the card. Without a bundle: a small one of our own, untrained.

    Raises:
        WeightsError: The folder is no bundle, names what omlab does not build, or its file is of another network.
    """
    if weights is None:
        folder = Path(str(resources.files(__package__).joinpath("example")))
    elif weights.folder is None:
        raise WeightsError(f"{weights.path()} is a file: give the folder of the bundle, with configs/ and models/.")
    else:
        folder = weights.folder
    described = Config(_config_file(folder, str(settings["bundle_config"])))
    definition = "network_def" if "network_def" in described else "network"
    if definition in described and "vista3d" in json.dumps(described.raw(definition)).lower():
        raise WeightsError(
            f"{folder} is VISTA3D's bundle, which runs code of its own: omlab predict monai-vista3d --weights {folder} "
            "does its automatic classes; its clicks are not done."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = made(described.value(definition), "network", where=f"{described.path}: '{definition}'")
    if weights is not None:
        weights.load(network, state=state_of(weights))
    return BundleModel(network, pipeline=pipeline_of(described), metadata=metadata_of(folder), device=device)


class BundleModel:
    """A bundle's network between its transforms: the verb `predict`.

    Args:
        module: The network.
        pipeline: What is done around it.
        metadata: Of the bundle.
        device: "cpu", "cuda" or "cuda:N".
    """

    def __init__(self, module: nn.Module, *, pipeline: Pipeline, metadata: Mapping[str, Any], device: str) -> None:
        self.module = module.to(device).eval()
        self.pipeline, self.metadata, self.device = pipeline, metadata, device

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMap | OmlabError]:
        """The label map of each volume; a volume of other channels is that case's `InputError`."""
        return one_by_one(batch, lambda inputs: self.segment(omlab.take(inputs, "volume", Volume)))

    def segment(self, volume: Volume) -> LabelMap:
        """The label map of one volume, on its grid.

        Raises:
            InputError: It has other channels than the bundle takes, or the bundle's transforms refuse it.
        """
        from monai.data.meta_tensor import MetaTensor
        from monai.transforms.spatial.array import ResampleToMatch

        wanted = channels_in(self.metadata)
        if wanted is not None and volume.channels != wanted:
            name = volume.name or "The volume"
            raise InputError(f"{name} has {volume.channels} channels, but this bundle takes {wanted}.")
        array = torch.from_numpy(np.array(volume.array, dtype=np.float32))  # a copy: transforms may write into it
        image = MetaTensor(array, affine=torch.from_numpy(np.array(volume.affine)))
        try:
            found = self.pipeline(image, self.module, device=self.device)
            if found.shape[1:] != image.shape[1:] or not torch.allclose(found.affine, image.affine, atol=1e-3):
                found = ResampleToMatch(mode="nearest")(found, image)
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"The bundle cannot take {volume.name or 'the volume'} ({first_line(error)}).") from error
        labels, values = self._labelled(found.as_tensor())
        chosen = smallest_unsigned(values, what="the label values of this bundle")
        return LabelMap(array=chosen, affine=volume.affine, labels=labels, source=volume.source)

    def _labelled(self, found: Tensor) -> tuple[tuple[Label, ...], NDArray[Any]]:
        """Labels and their values (X, Y, Z) of what the bundle gives, (C, X, Y, Z)."""
        names = names_of(self.metadata)
        if len(found) == 1 and self.pipeline.painting is None:
            values = found[0].round().long().numpy()
            return _labels({v: names.get(v, f"class_{v}") for v in _known(names, values)}), values
        if not bool(((found == 0) | (found == 1)).all()):
            raise InputError("The bundle gives scores and no labels: its postprocessing must end in AsDiscreted.")
        painting = self.pipeline.painting
        order = painting.order if painting else _largest_last(found, names)
        values = np.zeros(found.shape[1:], np.int64)
        for channel, value in reversed(order):
            values[found[channel].numpy() > 0] = value
        return _labels({value: names.get(channel, f"class_{value}") for channel, value in order}), values


def _largest_last(found: Tensor, names: Mapping[int, str]) -> tuple[tuple[int, int], ...]:
    """Channels with labels, the smallest region first: it lies over those that hold it."""
    sizes = found.flatten(1).sum(dim=1).tolist()
    channels = [channel for channel in range(len(sizes)) if names.get(channel, "").lower() != "background"]
    if len(channels) > 1 and bool((found[channels].sum(dim=0) > 1).any()):
        warnings.warn(
            "Regions of this bundle overlap: a voxel gets the label of the smallest.", OmlabWarning, stacklevel=3
        )
    first = 0 if "background" in (name.lower() for name in names.values()) else 1
    return tuple((channel, channel + first) for channel in sorted(channels, key=lambda channel: sizes[channel]))


def _known(names: Mapping[int, str], values: NDArray[Any]) -> list[int]:
    return sorted(value for value in {*names, *np.unique(values).tolist()} if value != 0)


def _labels(names: Mapping[int, str]) -> tuple[Label, ...]:
    return tuple(Label(value=value, name=name, colour=default_colour(value)) for value, name in sorted(names.items()))


def _config_file(folder: Path, asked: str) -> Path:
    for name in (asked,) if asked else _CONFIGS:
        if (folder / "configs" / name).is_file():
            return folder / "configs" / name
    wanted = asked or " or ".join(_CONFIGS[:2])
    raise WeightsError(f"{folder} is no MONAI bundle that predicts: it has no configs/{wanted}.")


def metadata_of(folder: Path) -> Mapping[str, Any]:
    """A bundle's `configs/metadata.json`; empty where there is none. Raises `WeightsError`."""
    path = folder / "configs" / "metadata.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({first_line(error)}).") from error
    return found if isinstance(found, dict) else {}


def state_of(weights: Weights) -> Mapping[str, Tensor]:
    """The tensors of a bundle's checkpoint. Raises `WeightsError`."""
    from omlab.weights import read_state_dict

    name = next((name for name in _CHECKPOINTS if name in weights.files), None)
    if name is None:
        raise WeightsError(f"The bundle {weights.folder} has no {' or '.join(_CHECKPOINTS)}: download its weights.")
    return read_state_dict(weights.path(name), converted=True)

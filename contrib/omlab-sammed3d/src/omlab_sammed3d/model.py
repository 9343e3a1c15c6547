"""SAM-Med3D as a model of omlab: a volume and prompts in, a label map on its grid out; clicks simulated; fine-tuned.

model = omlab.load_model("sammed3d.turbo")
labels = model.predict(omlab.read("ct.nii.gz"), prompts=omlab.prompts.read(Path("prompts.json")))
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omlab.card_schema import ModelCard
from omlab.errors import OmlabWarning, SettingsError, TrainingError, UsageError, WeightsError
from omlab.prompts import Prompts
from omlab.roles import Payload, Sample, Simulated
from omlab_sammed3d.network import SamMed3d, SamMed3dConfig, untrained
from omlab_sammed3d.predictor import SPACING, Predictor
from omlab_sammed3d.simulate import simulate
from omlab_sammed3d.training import ClickTask
from omlab_sammed3d.weights import load_network, read_checkpoint, resized
from omlab_volume.volume import LabelMap, Volume

TINY = SamMed3dConfig(
    image_size=32,
    patch=8,
    width=48,
    depth=3,
    heads=3,
    global_blocks=(2,),
    window=3,
    prompt_width=48,
    point_embeddings=4,
)
"""Of the card `sammed3d-tiny`; its window of 3 over a grid of 4 is padded, as the published one is."""


def load(
    card: ModelCard,
    *,
    weights: Path | None,
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> SamMed3dModel:
    """The entry of the cards. The size of the network comes from the file, where there is one.

    Raises:
        WeightsError: The file cannot be read or is another network's, names the keys; or it takes boxes and the
            card does not, or the reverse.
        SettingsError: `image_size` is not a multiple of the patches.
    """
    spacing = settings["spacing"] or SPACING
    if config is not None:
        shape, spacing = _from_config(config)
        network = (
            untrained(shape)
            if weights is None
            else load_network(read_checkpoint(weights), source=weights, config=shape)
        )
    elif weights is not None:
        network = load_network(read_checkpoint(weights), source=weights, rel_pos=settings["rel_pos"])
        _check_boxes(network.config, card=card, source=weights)
        if settings["image_size"]:
            network = resized(network, image_size=_image_size(settings, network.config))
    else:
        shape = TINY if card.name.endswith("-tiny") else SamMed3dConfig()
        shape = replace(shape, point_embeddings=_point_embeddings(card), rel_pos=settings["rel_pos"])
        network = untrained(replace(shape, image_size=_image_size(settings, shape)))
    if weights is not None and config is None and spacing != SPACING:
        warnings.warn(
            f"{card.name} works at {spacing:g} mm, but its published weights were trained at {SPACING} mm and do badly "
            "at other voxel sizes: leave the setting 'spacing' alone, or fine-tune.",
            OmlabWarning,
            stacklevel=2,
        )
    return SamMed3dModel(network, name=card.name, spacing=spacing, rule=settings["rule"], device=device)


class SamMed3dModel:
    """A network with what it needs; fulfils `omlab.roles.Promptable`, `SimulatesClicks` and `Finetunable`.

    Args:
        module: The network.
        name: Of the card, for messages.
        spacing: Voxel size in mm that the network works at.
        rule: Where simulated clicks go, `ritm` or `random`.
        device: "cpu", "cuda" or "cuda:N".
    """

    def __init__(self, module: SamMed3d, *, name: str, spacing: float, rule: Any, device: str) -> None:
        self.module = module.eval().to(device)
        self.name, self.spacing, self.rule = name, spacing, rule

    def predict(self, payload: Payload, *, prompts: Prompts | None = None) -> LabelMap:
        """The objects of `prompts` as labels 1, 2, ... on the grid of a volume; more in `Predictor.predict`.

        Raises:
            UsageError: There are no prompts, one is of a kind that this model does not take, or the payload is no
                volume.
            GeometryError: A prompt lies outside the volume, or is in voxels of another one.
            InputError: The volume has several channels or values that are not finite.
        """
        volume = self._volume(payload)
        if prompts is None:
            takes = " or ".join(self._predictor().takes)
            raise UsageError(f"{self.name} segments what it is pointed at: give prompts ({takes}).")
        return self._predictor().predict(volume, prompts)

    def simulate(self, payload: Payload, reference: Payload, *, clicks: int, seed: int) -> Simulated:
        """Simulated clicks on each label of `reference`; more in `omlab_sammed3d.simulate`.

        Raises:
            UsageError: The payloads are no volume and label map, `clicks` is below 1, or nothing is labelled.
            GeometryError: The reference is not on the grid of the volume.
            InputError: The volume has several channels or values that are not finite.
        """
        volume = self._volume(payload)
        if not isinstance(reference, LabelMap):
            raise UsageError(f"Clicks are simulated against a label map, not against a {reference.kind}.")
        return simulate(self._predictor(), volume, reference, clicks=clicks, rule=self.rule, seed=seed)

    def retarget(self, samples: Sequence[Sample], *, seed: int) -> SamMed3dModel:
        """A copy with weights of its own. It segments what it is pointed at, so that it needs no new heads.

        Raises:
            TrainingError: A sample is not a volume with a label map.
        """
        for sample in samples:
            if not isinstance(sample.payload, Volume) or not isinstance(sample.target, LabelMap):
                raise TrainingError(f"Case '{sample.id}' is not a volume with a label map to learn from.")
        device = str(next(self.module.parameters()).device)
        return SamMed3dModel(
            copy.deepcopy(self.module), name=self.name, spacing=self.spacing, rule=self.rule, device=device
        )

    def training_task(self, samples: Sequence[Sample], *, settings: Mapping[str, Any], seed: int) -> ClickTask:
        """Training with simulated clicks on every label of every sample.

        `settings` are the adapter's: epochs, steps_per_epoch, batch_size, learning_rate (of the encoder), augment
        (flips), and `spacing` and `patch_size`, three equal numbers or none; the network's positions are resized
        to another patch size.

        Raises:
            SettingsError: `spacing` or `patch_size` are not three equal numbers, or do not fit the network.
            TrainingError, InputError, GeometryError: A case cannot be trained on.
        """
        spacing, size = (_cube(settings[name], name=name) for name in ("spacing", "patch_size"))
        if spacing is not None:
            self.spacing = float(spacing)
        if size is not None:
            image_size = _image_size({"image_size": int(size)}, self.module.config)
            self.module = resized(self.module, image_size=image_size).to(next(self.module.parameters()).device)
        return ClickTask(
            network=self.module,
            samples=samples,
            prepare=self._predictor().prepare,
            spacing=self.spacing,
            batch_size=settings["batch_size"],
            steps_per_epoch=settings["steps_per_epoch"],
            epochs=settings["epochs"],
            learning_rate=settings["learning_rate"],
            flip=settings["augment"],
            seed=seed,
        )

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: the network's hyper-parameters and the spacing."""
        shape = asdict(self.module.config)
        network = {key: list(value) if isinstance(value, tuple) else value for key, value in shape.items()}
        return {"network": network, "spacing": self.spacing}

    def _predictor(self) -> Predictor:
        return Predictor(self.module.eval(), spacing=self.spacing, name=self.name)

    def _volume(self, payload: Payload) -> Volume:
        if not isinstance(payload, Volume):
            raise UsageError(f"{self.name} segments volumes, but was given a {payload.kind}.")
        return payload


def _point_embeddings(card: ModelCard) -> int:
    return 4 if "boxes" in card.capabilities else 2


def _check_boxes(config: SamMed3dConfig, *, card: ModelCard, source: Path) -> None:
    if config.point_embeddings != _point_embeddings(card):
        has, other = (
            ("takes boxes", "sammed3d-boxes") if config.point_embeddings == 4 else ("takes no boxes", "sammed3d")
        )
        raise WeightsError(f"{source} holds a SAM-Med3D that {has}, unlike {card.name}: load it as {other}.")


def _image_size(settings: Mapping[str, Any], config: SamMed3dConfig) -> int:
    size: int = settings["image_size"] or config.image_size
    if size % config.patch:
        raise SettingsError(f"The image size is {size}, but must be a multiple of {config.patch} voxels.")
    return size


def _cube(values: Sequence[float], *, name: str) -> float | None:
    """The one number of three equal ones; None of none."""
    if len(set(values)) > 1:
        raise SettingsError(f"The setting '{name}' is {list(values)}, but SAM-Med3D takes cubes: three equal numbers.")
    return values[0] if values else None


def _from_config(config: Mapping[str, Any]) -> tuple[SamMed3dConfig, float]:
    try:
        values: dict[str, Any] = dict(config["network"])
        values["global_blocks"] = tuple(values["global_blocks"])
        return SamMed3dConfig(**values), float(config["spacing"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted SAM-Med3D ({type(error).__name__}: {error})."
        ) from error

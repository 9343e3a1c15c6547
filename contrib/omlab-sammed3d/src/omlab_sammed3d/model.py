"""SAM-Med3D as a model of omlab: a volume and prompts in, a label map on its grid out; clicks simulated; fine-tuned.

session = omlab.load_model("sammed3d.turbo")
labels = session.predict(omlab.read("ct.nii.gz"), prompts=omlab.read("prompts.json", kind="prompts"))
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import omlab
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import OmlabError, OmlabWarning, SettingsError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_prompts.prompts import Prompts
from omlab_prompts.simulation import Simulation
from omlab_sam.parts import layers_of
from omlab_sammed3d.network import SamMed3d, SamMed3dConfig, untrained
from omlab_sammed3d.predictor import SPACING, Predictor
from omlab_sammed3d.simulate import Rule, simulate
from omlab_sammed3d.weights import load_network, resized
from omlab_volume.volume import LabelMap, Volume

if TYPE_CHECKING:
    from omlab_sammed3d.training import ClickRecipe

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
    weights: Weights | None,
    needs: Mapping[str, Any],
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
        network = untrained(shape)
        if weights is not None:
            network = load_network(weights.state_dict(), source=weights.path(), config=shape)
    elif weights is not None:
        source = weights.path()
        network = load_network(weights.state_dict(), source=source, rel_pos=settings["rel_pos"])
        _check_boxes(network.config, card=card, source=source)
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
    return SamMed3dModel(network, spacing=spacing, rule=settings["rule"], device=device)


class SamMed3dModel:
    """A network with what it needs: the verbs `predict` and `simulate`, the recipe `clicks` (`omlab.roles.Trainable`).

    Args:
        module: The network.
        spacing: Voxel size in mm that the network works at.
        rule: Where simulated clicks go, `ritm` or `random`.
        device: "cpu", "cuda" or "cuda:N".
    """

    def __init__(self, module: SamMed3d, *, spacing: float, rule: Rule, device: str) -> None:
        self.module = module.eval().to(device)
        self.spacing, self.rule = spacing, rule
        self._predictor: Predictor | None = None

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMap | OmlabError]:
        """The objects of `prompts` as labels 1, 2, ... on the grid of the volume; more in `Predictor.predict`.

        A case fails with a `UsageError` for several boxes of one object or a first click outside it, an `InputError`
        for a volume of several channels or values that are not finite.
        """

        def answer(inputs: Inputs) -> LabelMap:
            volume, prompts = omlab.take(inputs, "volume", Volume), omlab.take(inputs, "prompts", Prompts)
            return self.predictor.predict(volume, prompts)

        return one_by_one(batch, answer)

    def simulate(self, batch: Sequence[Inputs], /, *, clicks: int, seed: int) -> Iterator[Simulation | OmlabError]:
        """Simulated clicks on each label of `reference`; more in `omlab_sammed3d.simulate`.

        A case fails with a `UsageError` where nothing is labelled, a `GeometryError` where the reference is not on the
        grid of the volume, an `InputError` as `predict` says.
        """

        def answer(inputs: Inputs) -> Simulation:
            volume, reference = omlab.take(inputs, "volume", Volume), omlab.take(inputs, "reference", LabelMap)
            found = omlab.take(inputs, "found", LabelMap) if "found" in inputs else None
            return simulate(self.predictor, volume, reference, clicks=clicks, rule=self.rule, seed=seed, found=found)

        return one_by_one(batch, answer)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: patches, each block, neck, prompt encoder, decoder."""
        return layers_of(self.module)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> SamMed3dModel:
        """A copy with weights of its own, its positions resized where `cube_size` asks for other cubes.

        It segments what it is pointed at, so that it needs no new heads.

        Raises:
            TrainingError: The data have no volumes, or several a case.
            SettingsError: `cube_size` is not a multiple of the patches.
        """
        from omlab_volume.training.targets import volume_name

        volume_name(about)
        module, spacing = copy.deepcopy(self.module), settings["cube_spacing"] or self.spacing
        if settings["cube_size"]:
            size = _image_size({"image_size": settings["cube_size"]}, module.config)
            module = resized(module, image_size=size)
        device = str(next(self.module.parameters()).device)
        return SamMed3dModel(module, spacing=float(spacing), rule=self.rule, device=device)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> ClickRecipe:
        """Training with simulated clicks on every label of every case.

        Raises `TrainingError`, `InputError` or `GeometryError` where a case cannot be trained on.
        """
        from omlab_sammed3d.training import click_recipe

        return click_recipe(
            self.module,
            data,
            spacing=self.spacing,
            cubes=settings["cubes"],
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

    @property
    def predictor(self) -> Predictor:
        """What predicts. One for as long as the weights stay: what it remembers of a volume is of these."""
        if self._predictor is None or self.module.training:
            self._predictor = Predictor(self.module.eval(), spacing=self.spacing)
        return self._predictor


def _point_embeddings(card: ModelCard) -> int:
    return 4 if "boxes" in card.does["predict"].accepts["prompts"] else 2


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


def _from_config(config: Mapping[str, Any]) -> tuple[SamMed3dConfig, float]:
    try:
        values: dict[str, Any] = dict(config["network"])
        values["global_blocks"] = tuple(values["global_blocks"])
        return SamMed3dConfig(**values), float(config["spacing"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted SAM-Med3D ({type(error).__name__}: {error})."
        ) from error

"""SAM-Med2D as a model of omlab: images or volumes and prompts in, label maps on their pixels out; fine-tuned.

session = omlab.load_model("sammed2d.sam-med2d-b")
labels = session.predict(omlab.read("slice.png"), prompts=omlab.read("clicks.json", kind="prompts"))
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import omlab
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import OmlabError, SettingsError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights, load_state_dict
from omlab_image.image import Image, LabelMap2D
from omlab_prompts.prompts import Prompts
from omlab_prompts.simulation import Simulation
from omlab_sam.network import VARIANTS, Sam
from omlab_sam.parts import layers_of
from omlab_sam.weights import load_sam
from omlab_sammed2d.predictor import ImagePredictor, Segmenter
from omlab_sammed2d.volumes import VolumePredictor
from omlab_volume.volume import LabelMap, Volume

if TYPE_CHECKING:
    from omlab_sammed2d.training import ClickRecipe

IMAGE_SIZE = 256
TINY: dict[str, Any] = {
    "image_size": 128,
    "embed_dim": 48,
    "depth": 3,
    "num_heads": 3,
    "global_attn_indexes": [2],
    "window_size": 6,
    "patch_size": 8,
    "out_chans": 32,
}
"""Of the cards `sammed2d-tiny*`; windows of 6 over a grid of 16 are padded, as the published ones are."""
_KEPT = ("fit", "channel_order", "axis", "window")


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> SamMed2dModel:
    """The entry of the cards. What the network is comes from the file, where there is one.

    Raises:
        WeightsError: The file cannot be read or is another network's; names the keys.
        SettingsError: `image_size` cannot be, or `window` is not a centre and a width.
    """
    if len(settings["window"]) not in (0, 2) or (settings["window"] and float(settings["window"][1]) <= 0):
        raise SettingsError(f"The window is {settings['window']}, but must be centre and width, such as 40,400.")
    try:
        if config is not None:
            sam = Sam(**config["network"]).eval()
            if weights is not None:
                load_state_dict(sam, weights.state_dict(), source=weights.path())
            return SamMed2dModel(sam, device=device, **{name: config[name] for name in _KEPT})
        size, adapters = settings["image_size"], settings["adapters"]
        if weights is not None:
            sam = load_sam(
                weights.state_dict(), source=weights.path(), image_size=size or IMAGE_SIZE, adapters=_adapters(adapters)
            )
        else:
            shape: dict[str, Any] = TINY if "tiny" in card.name else {**VARIANTS["vit_b"], "image_size": IMAGE_SIZE}
            sam = Sam(**{**shape, "image_size": size or shape["image_size"], "adapters": adapters != "none"}).eval()
    except ValueError as error:
        raise SettingsError(f"'{card.name}' cannot be built so: {error}") from error
    except (KeyError, TypeError) as error:
        raise WeightsError(f"The configuration is not one of an adapted SAM-Med2D ({error}).") from error
    return SamMed2dModel(sam, device=device, **{name: settings[name] for name in _KEPT})


class SamMed2dModel:
    """A network with what it needs: the verbs `predict` and `simulate`, the recipe `clicks` (`omlab.roles.Trainable`).

    Args:
        module: The network.
        device: "cpu", "cuda" or "cuda:N".
        fit: How images get into the network's square: "resize" or "pad".
        channel_order: "bgr", which published weights were trained with, or "rgb".
        axis: Across which volumes are cut.
        window: Centre and width of their intensities; empty: chosen by the volume.
    """

    def __init__(
        self, module: Sam, *, device: str, fit: Any, channel_order: Any, axis: Any, window: Sequence[Any]
    ) -> None:
        self.module = module.eval().to(device)
        self.settings = {"fit": fit, "channel_order": channel_order, "axis": axis, "window": [*map(float, window)]}
        self._images: ImagePredictor | None = None
        self._volumes: VolumePredictor | None = None

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMap2D | LabelMap | OmlabError]:
        """The objects of `prompts` as labels 1, 2, ... on the pixels of `image`, or on the grid of `volume`.

        More in `ImagePredictor.predict` and `VolumePredictor.predict`. A case fails with a `UsageError` for an object
        that only clicks outside it point at, an `InputError` for several channels or values that are not finite.
        """
        images = [inputs["image"] for inputs in batch if isinstance(inputs.get("image"), Image)]
        if len(images) > 1 and all(isinstance(image, Image) and image.is_finite() for image in images):
            self.images.encode([image for image in images if isinstance(image, Image)])
        return one_by_one(batch, self._segmented)

    def _segmented(self, inputs: Inputs) -> LabelMap | LabelMap2D:
        prompts = omlab.take(inputs, "prompts", Prompts)
        if "volume" in inputs:
            return self.volumes.predict(omlab.take(inputs, "volume", Volume), prompts)
        return self.images.predict(omlab.take(inputs, "image", Image), prompts)

    def simulate(
        self, batch: Sequence[Inputs], /, *, clicks: int, seed: int, rule: Any, start: Any
    ) -> Iterator[Simulation | OmlabError]:
        """Simulated clicks on each label of `reference`; more in `omlab_sammed2d.simulate`.

        A case fails with a `UsageError` where nothing is labelled, a `GeometryError` where the reference is not on the
        grid of the image or volume, an `InputError` as `predict` says.
        """
        from omlab_sammed2d.simulate import simulate_image, simulate_volume

        how: dict[str, Any] = {"clicks": clicks, "seed": seed, "rule": rule, "start": start}

        def answer(inputs: Inputs) -> Simulation:
            if "volume" in inputs:
                volume, labels = omlab.take(inputs, "volume", Volume), omlab.take(inputs, "reference", LabelMap)
                found = omlab.take(inputs, "found", LabelMap) if "found" in inputs else None
                return simulate_volume(self.volumes, volume, labels, found=found, **how)
            image, reference = omlab.take(inputs, "image", Image), omlab.take(inputs, "reference", LabelMap2D)
            other = omlab.take(inputs, "found", LabelMap2D) if "found" in inputs else None
            return simulate_image(self.images, image, reference, found=other, **how)

        return one_by_one(batch, answer)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: patches, each block, neck, prompt encoder and decoder."""
        return layers_of(self.module)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> SamMed2dModel:
        """A copy with weights of its own: it segments what it is pointed at, so that it needs no new heads.

        Raises `TrainingError` where the data have no images or volumes, or several a case.
        """
        from omlab_sammed2d.training import picture_name

        picture_name(about)
        device = str(next(self.module.parameters()).device)
        return SamMed2dModel(copy.deepcopy(self.module), device=device, **self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> ClickRecipe:
        """Training with simulated prompts on every label of every case.

        Raises `TrainingError`, `InputError` or `GeometryError` where a case cannot be trained on.
        """
        from omlab_sammed2d.training import click_recipe

        return click_recipe(
            self.module,
            data,
            fit=self.settings["fit"],
            order=self.settings["channel_order"],
            axis=self.settings["axis"],
            window=self.settings["window"],
            seed=seed,
            settings=settings,
        )

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: the network's hyper-parameters, and how images are put to it."""
        return {"network": self.module.shape, **self.settings}

    @property
    def images(self) -> ImagePredictor:
        """What predicts in images. One for as long as the weights stay: what it remembers is of these."""
        if self._images is None or self.module.training:
            self._images = ImagePredictor(self._segmenter())
        return self._images

    @property
    def volumes(self) -> VolumePredictor:
        """What predicts in volumes, likewise."""
        if self._volumes is None or self.module.training:
            self._volumes = VolumePredictor(
                self._segmenter(), axis=self.settings["axis"], window=self.settings["window"]
            )
        return self._volumes

    def _segmenter(self) -> Segmenter:
        return Segmenter(self.module.eval(), fit=self.settings["fit"], order=self.settings["channel_order"])


def _adapters(wanted: str) -> bool | None:
    """What `load_sam` is told: as the file has them, or none."""
    return {"as-trained": None, "none": False, "new": True}[wanted]

"""A pre-trained encoder made ready for a recipe: with a head for classes or masks, or with a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from omlab.errors import SettingsError, TrainingError, WeightsError
from omlab.roles import About
from omlab_image.answers import Task as ClassTask
from omlab_image.answers import class_names
from omlab_usfm.atm import AtmConfig
from omlab_usfm.encoder import Encoder, EncoderConfig
from omlab_usfm.pretraining import Masks, SpatialFrequency
from omlab_usfm.segmentation import SEGVIT_BLOCKS, UPERNET_BLOCKS, SegVit, UperNet
from omlab_usfm.tables import Form
from omlab_usfm.upernet import FcnConfig, UperConfig
from omlab_usfm.weights import Network, encoder_of, load_encoder

PUBLISHED_DEPTH = 12


@dataclass(frozen=True, kw_only=True)
class Task(ClassTask):
    """What a trained network tells; in segmentation the background is none of the classes.

    Attributes:
        recipe: That it was trained by; empty: an encoder.
        values: Of the labels of a segmentation, by output.
    """

    recipe: str = ""
    values: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that it takes to build a network, as JSON in the configuration of an adapted model."""

    encoder: EncoderConfig
    head: str = ""
    outputs: int = 0

    def build(self) -> Network:
        """The network, with drawn values. Raises `ValueError` for an unknown head."""
        made: Network
        if self.head == "classes":
            made = Encoder(self.encoder, classes=self.outputs)
        elif self.head == "segvit":
            made = _segvit(self.encoder, self.outputs)
        elif self.head == "upernet":
            made = _upernet(self.encoder, self.outputs)
        elif self.head == "spatial-frequency":
            made = SpatialFrequency(self.encoder)
        elif not self.head:
            made = Encoder(self.encoder)
        else:
            raise ValueError(f"there is no head '{self.head}'")
        return made.eval()

    def to_config(self) -> dict[str, Any]:
        """JSON, of which `from_config` makes it again."""
        return {"encoder": asdict(self.encoder), "head": self.head, "outputs": self.outputs}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Plan:
        """Raises `WeightsError` for what is no such configuration."""
        try:
            return cls(encoder=EncoderConfig(**config["encoder"]), head=config["head"], outputs=config["outputs"])
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"The configuration is not one of an adapted USFM ({type(error).__name__}: {error})."
            ) from error


def _segvit(encoder: EncoderConfig, outputs: int) -> SegVit:
    width = encoder.width // 2
    heads = encoder.heads if width % encoder.heads == 0 else 1
    head = AtmConfig(classes=outputs, in_channels=encoder.width, width=width, heads=heads)
    return SegVit(encoder, head, blocks=spread(SEGVIT_BLOCKS, encoder.depth))


def _upernet(encoder: EncoderConfig, outputs: int) -> UperNet:
    blocks = spread(UPERNET_BLOCKS, encoder.depth)
    head = UperConfig(classes=outputs, in_channels=(encoder.width,) * len(blocks), channels=encoder.width)
    auxiliary = FcnConfig(classes=outputs, in_channels=encoder.width, channels=max(encoder.width // 3, 1))
    return UperNet(encoder, head, auxiliary, blocks=blocks)


def spread(blocks: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """The published `blocks` of 12 for an encoder of another depth. Raises `ValueError` where it has too few."""
    if depth < len(blocks):
        raise ValueError(f"{len(blocks)} maps are taken after as many blocks, but the encoder has {depth}")
    if depth == PUBLISHED_DEPTH:
        return blocks
    return tuple((number + 1) * depth // len(blocks) - 1 for number in range(len(blocks)))


def plan_for(before: EncoderConfig, *, recipe: str, about: About, settings: Mapping[str, Any]) -> tuple[Plan, Task]:
    """What network a recipe needs for the data, and what it then tells.

    Raises:
        TrainingError: The data name too few classes, or leave pixels out.
        SettingsError: `size` cannot be.
    """
    if recipe == "spatial-frequency":
        return Plan(encoder=_sized(before, settings["size"]), head=recipe), Task(recipe=recipe)
    if recipe == "classification":
        is_multi_label = settings["multi_label"]
        names = class_names(about, multi_label=is_multi_label)
        encoder = replace(_sized(before, settings["size"]), drop_path=settings["drop_path"])
        task = Task(recipe=recipe, classes=names, threshold=0.5 if is_multi_label else None)
        return Plan(encoder=encoder, head="classes", outputs=len(names)), task
    values = tuple(value for value in sorted(about.classes) if value)
    if not values:
        raise TrainingError("The data set names no classes: there is nothing to learn.")
    if about.ignored:
        raise TrainingError(
            f"The label {about.ignored[0]} of the data counts as not annotated, which USFM's losses cannot leave out: "
            "label those pixels, or take them as background."
        )
    encoder = replace(_sized(before, settings["size"]), drop_path=settings["drop_path"])
    if settings["upstream_segvit"]:
        encoder = replace(encoder, qv_bias=False, layer_scale=None)
    task = Task(recipe=recipe, classes=tuple(about.classes[value] for value in values), values=values)
    return Plan(encoder=encoder, head=settings["head"], outputs=len(values) + 1), task


def _sized(config: EncoderConfig, size: int) -> EncoderConfig:
    """The encoder for images of `size`; 0: as it is. Raises `SettingsError`."""
    try:
        return replace(config, image_size=size or config.image_size)
    except ValueError as error:
        raise SettingsError(f"The setting 'size' cannot be {size}: {error}") from error


def retargeted(
    before: Network, *, recipe: str, about: About, settings: Mapping[str, Any], tables: Form, seed: int
) -> tuple[Network, Plan, Task]:
    """A network for a recipe with the encoder of `before`, its tables brought to the new grid.

    Raises `TrainingError` or `SettingsError` where data or settings do not fit.
    """
    encoder = encoder_of(before)
    plan, task = plan_for(encoder.config, recipe=recipe, about=about, settings=settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network = plan.build()
        except ValueError as error:
            raise SettingsError(f"The head '{plan.head}' does not fit: {error}.") from error
    load_encoder(network, encoder.state_dict(), source="the model", form=tables)
    if isinstance(network, SpatialFrequency):
        network.masks = Masks.of(settings, size=plan.encoder.image_size, patch=plan.encoder.patch_size)
    return network, plan, task

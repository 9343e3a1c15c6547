"""A pre-trained encoder made ready for a recipe: with a head for classes, a decoder of masks, or one that paints."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from omlab.errors import SettingsError, TrainingError, WeightsError, WeightsWarning
from omlab.roles import About
from omlab_deblurmim.autoencoder import ConvMae, DecoderConfig, Mae, MaskedAutoencoder
from omlab_deblurmim.convvit import ConvConfig, ConvVit
from omlab_deblurmim.segmentation import CONV_EPS, VIT_BLOCKS, Form, Segmenter, SegmenterConfig
from omlab_deblurmim.vit import Vit, VitConfig
from omlab_deblurmim.weights import Network, encoder_of, load_encoder
from omlab_image.answers import Task as ClassTask
from omlab_image.answers import class_names

Kind = Literal["autoencoder", "encoder", "segmenter"]
PUBLISHED_DEPTH = 12
PAINTING = ("deblurring", "masked")


@dataclass(frozen=True, kw_only=True)
class Task(ClassTask):
    """What a trained network tells; no classes: it is an encoder. In segmentation the background is none of them.

    Attributes:
        values: Of the labels of a segmentation, by output.
    """

    values: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that it takes to build a network, as JSON in the configuration of an adapted model."""

    kind: Kind
    encoder: VitConfig | ConvConfig
    decoder: DecoderConfig | None = None
    outputs: int = 0
    form: Form = "unet++"

    def build(self) -> Network:
        """The network, with drawn values. Raises `ValueError` where the encoder has too few blocks for masks."""
        encoder = self.encoder
        if self.kind == "segmenter":
            blocks = spread(encoder.depth) if isinstance(encoder, VitConfig) else VIT_BLOCKS
            config = SegmenterConfig(encoder=encoder, form=self.form, classes=self.outputs, blocks=blocks)
            return Segmenter(config).eval()
        if self.decoder is not None:
            if isinstance(encoder, ConvConfig):
                return ConvMae(encoder, decoder=self.decoder).eval()
            return Mae(encoder, decoder=self.decoder).eval()
        if isinstance(encoder, ConvConfig):
            return ConvVit(encoder, classes=self.outputs).eval()
        return Vit(encoder, classes=self.outputs).eval()

    def to_config(self) -> dict[str, Any]:
        """JSON, of which `from_config` makes it again."""
        return {
            "kind": self.kind,
            "convolutional": isinstance(self.encoder, ConvConfig),
            "encoder": asdict(self.encoder),
            "decoder": None if self.decoder is None else asdict(self.decoder),
            "outputs": self.outputs,
            "form": self.form,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Plan:
        """Raises `WeightsError` for what is no such configuration."""
        try:
            facts: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in config["encoder"].items()
            }
            decoder = config["decoder"]
            return cls(
                kind=config["kind"],
                encoder=ConvConfig(**facts) if config["convolutional"] else VitConfig(**facts),
                decoder=None if decoder is None else DecoderConfig(**decoder),
                outputs=config["outputs"],
                form=config["form"],
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"The configuration is not one of an adapted deblurring MIM ({type(error).__name__}: {error})."
            ) from error


def spread(depth: int) -> tuple[int, ...]:
    """The published four of 12 blocks for an encoder of another depth. Raises `ValueError` where it has too few."""
    if depth < len(VIT_BLOCKS):
        raise ValueError(f"four maps are taken after as many blocks, but the encoder has {depth}")
    if depth == PUBLISHED_DEPTH:
        return VIT_BLOCKS
    return tuple((number + 1) * depth // 4 - 1 for number in range(4))


def decoder_for(encoder: VitConfig | ConvConfig) -> DecoderConfig:
    """Two thirds as wide as the encoder and two thirds as deep, as the published ones are, for one that lacks it."""
    width = encoder.widths[2] if isinstance(encoder, ConvConfig) else encoder.width
    depth = encoder.depths[2] if isinstance(encoder, ConvConfig) else encoder.depth
    wide = max(32, width * 2 // 3 // 32 * 32)
    return DecoderConfig(width=wide, depth=max(1, depth * 2 // 3), heads=wide // 32)


def plan_for(
    before: VitConfig | ConvConfig,
    decoder: DecoderConfig | None,
    *,
    recipe: str,
    about: About,
    settings: Mapping[str, Any],
) -> tuple[Plan, Task]:
    """What network a recipe needs for the data, and what it then tells.

    Raises:
        TrainingError: The data name too few classes, or leave pixels out.
        SettingsError: `size` cannot be.
    """
    encoder = _sized(before, settings["size"])
    if recipe in PAINTING:
        return Plan(kind="autoencoder", encoder=encoder, decoder=decoder or decoder_for(encoder)), Task()
    encoder = replace(encoder, drop_path=settings["drop_path"])
    if recipe == "classification":
        is_multi_label = settings["multi_label"]
        names = class_names(about, multi_label=is_multi_label)
        task = Task(classes=names, threshold=0.5 if is_multi_label else None)
        return Plan(kind="encoder", encoder=encoder, outputs=len(names)), task
    values = tuple(value for value in sorted(about.classes) if value)
    if not values:
        raise TrainingError("The data set names no classes: there is nothing to learn.")
    if about.ignored:
        raise TrainingError(
            f"The label {about.ignored[0]} of the data counts as not annotated, which the Dice loss here cannot leave "
            "out: label those pixels, or take them as background."
        )
    if isinstance(encoder, ConvConfig):
        encoder = replace(encoder, eps=CONV_EPS)
    task = Task(classes=tuple(about.classes[value] for value in values), values=values)
    return Plan(kind="segmenter", encoder=encoder, outputs=len(values), form=settings["decoder"]), task


def _sized(config: Any, size: int) -> Any:
    """The encoder for images of `size`; 0: as it is. Raises `SettingsError`."""
    try:
        return replace(config, image_size=size or config.image_size)
    except ValueError as error:
        raise SettingsError(f"The setting 'size' cannot be {size}: {error}") from error


def retargeted(
    before: Network, *, recipe: str, about: About, settings: Mapping[str, Any], seed: int
) -> tuple[Network, Plan, Task]:
    """A network for a recipe with the encoder of `before`, and where both have one its decoder.

    Raises `TrainingError` or `SettingsError` where data or settings do not fit.
    """
    encoder = encoder_of(before)
    decoder = before.decoder if isinstance(before, MaskedAutoencoder) else None
    assert decoder is None or isinstance(decoder, DecoderConfig)
    plan, task = plan_for(encoder.config, decoder, recipe=recipe, about=about, settings=settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network = plan.build()
        except ValueError as error:
            raise SettingsError(f"The network cannot be made: {error}.") from error
    load_encoder(network, encoder.state_dict(), source="the model")
    if isinstance(network, Segmenter) and isinstance(before, Segmenter):
        _take_decoder(network, before)
    if isinstance(network, MaskedAutoencoder):
        network.ratio, network.normalise = settings["ratio"], settings["normalise_patches"]
        if decoder is None:
            warnings.warn("These weights have no decoder: it starts anew.", WeightsWarning, stacklevel=2)
    return network, plan, task


def _take_decoder(network: Segmenter, before: Segmenter) -> None:
    """Copy what both have of a decoder and head in the same shape."""
    own, theirs = network.state_dict(), before.state_dict()
    alike = {name: theirs[name] for name, value in own.items() if name in theirs and theirs[name].shape == value.shape}
    apart = {name: value for name, value in alike.items() if not name.startswith("encoder.")}
    network.load_state_dict(apart, strict=False)

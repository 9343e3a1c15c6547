"""MedLAM as a model of omlab: a CT volume and a support in, boxes in the volume out; trained without labels.

session = omlab.load_model("medlam")
boxes = session.localise(omlab.read("ct.nii.gz"), support=omlab.read("supports.csv", kind="support"))
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import omlab
from omlab.card_schema import ModelCard
from omlab.errors import OmlabError, SettingsError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_medlsam.localiser import Localiser
from omlab_medlsam.network import MedLam, MedLamConfig, layers_of, untrained
from omlab_medlsam.supports import Support
from omlab_medlsam.weights import load_network
from omlab_medlsam.working import WorkingCopy, working_copy
from omlab_payloads.boxes import Boxes
from omlab_volume.volume import Volume

TINY = MedLamConfig(base_channels=3, patch=(32, 32, 32))
"""Of the cards whose name ends with `-tiny`."""


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> MedLamModel:
    """The entry of the cards `medlam`.

    Raises:
        WeightsError: The file is another network's; names the keys.
        SettingsError: `patch_size` cannot be.
    """
    network = network_of(card, weights=weights, settings=settings, config=config)
    return MedLamModel(network, batch_size=settings["batch_size"], device=device)


def network_of(
    card: ModelCard, *, weights: Weights | None, settings: Mapping[str, Any], config: Mapping[str, Any] | None
) -> MedLam:
    """MedLAM as a card has it: of a configuration, of a file, or untrained. Raises `WeightsError`, `SettingsError`."""
    shape = None if config is None else _from_config(config)
    if weights is not None:
        return load_network(weights.state_dict(), source=weights.path(), config=shape)
    if shape is None:
        shape = TINY if card.name.endswith("-tiny") else MedLamConfig()
        side = settings["patch_size"] or shape.patch[0]
        try:
            shape = MedLamConfig(
                base_channels=settings["base_channels"] or shape.base_channels, patch=(side, side, side)
            )
        except ValueError:
            raise SettingsError(f"patch_size is {side}, but must be a multiple of 16 from 32 on.") from None
    return untrained(shape)


@dataclass(frozen=True, kw_only=True)
class Query:
    """A case whose volume is a working copy already."""

    inputs: Inputs
    copy: WorkingCopy


class MedLamModel:
    """A network with its verb `localise`, and the recipe `relative-distance` (`omlab.roles.Trainable`).

    Args:
        module: The network.
        batch_size: Patches that go through it at once.
        device: "cpu", "cuda" or "cuda:N".
    """

    def __init__(self, module: MedLam, *, batch_size: int, device: str) -> None:
        self.module = module.eval().to(device)
        self.device = device
        self.localiser = Localiser(batch_size=batch_size)

    def prepare(self, verb: str, inputs: Inputs, /, **options: Any) -> Query:
        """The volume at 3 mm. Raises `InputError` for a volume that is no CT of one channel and finite values."""
        return Query(inputs=inputs, copy=working_copy(omlab.take(inputs, "volume", Volume)))

    def localise(
        self, batch: Sequence[Query], /, *, slice_interval: int, refine: bool, seed: int
    ) -> Iterator[Boxes | OmlabError]:
        """The boxes of the support's structures in each volume, in its voxels; several of a structure where it is cut.

        A case fails with an `InputError` where the middle of its volume is empty or a support scan cannot be used.
        """
        self.module.eval()
        for query in batch:
            support = omlab.take(query.inputs, "support", Support)
            try:
                placed = self.localiser.place(
                    self.module, query.copy, support, slice_interval=slice_interval, refine=refine, seed=seed
                )
            except OmlabError as error:
                yield error
            else:
                yield Boxes(space="voxel", boxes=[box for one in placed for box in one.boxes()])

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: encoder stages, decoder stages, heads."""
        return layers_of(self.module)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> MedLamModel:
        """A copy: there are no targets, so that nothing else changes."""
        return type(self)(copy.deepcopy(self.module), batch_size=self.localiser.batch_size, device=self.device)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Relative distances and similarities (`omlab_medlsam.training`)."""
        from omlab_medlsam.training import relative_distance

        return relative_distance(self.module, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """The network's hyper-parameters."""
        return to_config(self.module.config)


def to_config(config: MedLamConfig) -> dict[str, Any]:
    """Hyper-parameters as JSON."""
    return {
        "base_channels": config.base_channels,
        "patch": list(config.patch),
        "in_channels": config.in_channels,
        "classes": config.classes,
    }


def _from_config(config: Mapping[str, Any]) -> MedLamConfig:
    try:
        patch = config["patch"]
        return MedLamConfig(**{**config, "patch": (patch[0], patch[1], patch[2])})
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted MedLAM ({type(error).__name__}: {error})."
        ) from error

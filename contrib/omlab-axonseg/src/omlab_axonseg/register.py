"""The registration cascade as a model of omlab: two volumes in, the moving one on the fixed one's grid out.

session = omlab.load_model("atlas-registration", weights="registration.pth")
found = session.register(fixed=omlab.read("brain.nii.gz"), moving=omlab.read("atlas.nii.gz"))
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

import omlab
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import InputError, OmlabError, OmlabWarning, SettingsError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_axonseg.registration.cascade import Cascade, CascadeConfig
from omlab_axonseg.registration.grids import outside_share
from omlab_axonseg.registration.networks import SLOPE
from omlab_axonseg.registration.spaces import composed, displacement, image_map, region_maps
from omlab_volume.registration import Registration, Transform
from omlab_volume.volume import LabelMap, Volume

IMAGE = "image"
SIZES = (80, 114, 132)
"""Those of scale 1, a quarter of the atlas's resolution; twice as much at scale 2, and so on."""
_BRANCH = re.compile(r"net\.backbone\.0\.dsample_module_list_list\.(\d+)\.")
TINY_SIZES = (20, 20, 20)
TINY_WIDTHS = (4, 4, 8, 8, 8)
_HEADS = (".conv_w.", ".conv_b.", ".decoder_7.", ".dsample_module_list_list.", ".usample_module_list_list.")
OUTSIDE = 0.02
"""Share of the places beyond the moving volume from which on it is said."""


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> RegistrationModel:
    """The entry of the cards `atlas-registration*`. Raises `WeightsError` and `SettingsError`."""
    tiny = card.name.endswith("-tiny")
    state = None if weights is None else weights.state_dict()
    scale = _scale_of(state, wanted=settings["scale"])
    shape = CascadeConfig(
        constraints=(IMAGE, *(str(name) for name in settings["regions"])),
        rigid=settings["rigid"] if state is None else any(key.startswith("net.rigid.") for key in state),
        box_filter=5 if tiny else 15,
        affine_widths=TINY_WIDTHS if tiny else CascadeConfig.affine_widths,
        nonrigid_widths=(4, 4) if tiny else CascadeConfig.nonrigid_widths,
        scale=scale,
    )
    network = untrained(shape)
    if weights is not None and state is not None:
        _check_constraints(state, shape, source=str(weights.path()))
        added = {key: value for key, value in network.state_dict().items() if _branch_of(key) >= _scale_in(state)}
        weights.load(network, state={**added, **state})
    sizes = settings["sizes"] or [n * 2 ** (scale - 1) for n in (TINY_SIZES if tiny else SIZES)]
    return RegistrationModel(network, device=device, settings={**settings, "sizes": list(sizes)})


def untrained(config: CascadeConfig) -> Cascade:
    """A cascade that moves little at first: heads near zero, so that a training begins at no motion.

    The other convolutions are He's: with PyTorch's own draws each layer shrinks what it sees by about 0.6 against its
    bias, and without a norm between them the heads saw next to nothing of the two volumes. Branches of higher scales
    add next to nothing at first, so that a cascade which has learned at a lower one goes on from there.
    """
    torch.manual_seed(0)
    network = Cascade(config)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.Conv3d):
                nn.init.kaiming_normal_(part.weight, a=SLOPE)
                nn.init.zeros_(cast(Tensor, part.bias))
        for name, parameter in network.named_parameters():
            if any(part in name for part in _HEADS):
                parameter.mul_(0.01)
    return network.eval()


class RegistrationModel:
    """The cascade with its sizes: the verb `register`, and the recipe `registration`."""

    def __init__(self, module: Cascade, *, device: str, settings: Mapping[str, Any]) -> None:
        sizes = list(settings["sizes"])
        if len(sizes) != 3 or any(not isinstance(n, int) or n < module.smallest for n in sizes):
            raise SettingsError(f"sizes is {sizes}, but must be three whole numbers of at least {module.smallest}.")
        if any(n % module.multiple for n in sizes):
            raise SettingsError(
                f"sizes is {sizes}, but at scale {module.config.scale} must be multiples of {module.multiple}."
            )
        self.module = module.eval().to(device)
        self.sizes: tuple[int, int, int] = (sizes[0], sizes[1], sizes[2])
        self.settings = dict(settings)

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions that it looks at, in the order of its weights."""
        return self.module.config.constraints[1:]

    def register(self, batch: Sequence[Inputs], /) -> Iterator[Registration | OmlabError]:
        """The moving volume of each case on the grid of its fixed one, and the transform."""
        return one_by_one(batch, self._registered)

    def maps(self, inputs: Inputs, side: str) -> dict[str, Tensor]:
        """The maps of one side of a case. Raises `InputError` for a volume that has nothing to look at."""
        volume = omlab.take(inputs, side, Volume)
        name = volume.name or f"The {side} volume"
        if not volume.is_finite():
            raise InputError(f"{name} has voxels that are not finite: repair it first.")
        with np.errstate(over="ignore"):
            spread = float(np.float64(volume.array[0].max()) - np.float64(volume.array[0].min()))
        if not 0 < spread < 1e30:
            raise InputError(f"{name} is constant, or its values are beyond all intensities: nothing to register by.")
        labels = inputs.get(f"{side}_regions")
        if labels is not None and not isinstance(labels, LabelMap):
            raise InputError(f"The {side} regions are a label map, not a '{labels.kind}'.")
        maps = {IMAGE: image_map(volume, sizes=self.sizes)}
        return maps | region_maps(labels, self.regions, sizes=self.sizes)

    def _registered(self, inputs: Inputs) -> Registration:
        fixed, moving = omlab.take(inputs, "fixed", Volume), omlab.take(inputs, "moving", Volume)
        sides = {side: self.maps(inputs, side) for side in ("fixed", "moving")}
        self._say_what_is_absent(sides, (fixed, moving))
        device = next(self.module.parameters()).device
        with torch.inference_mode():
            steps = self.module.eval()(
                *({name: one.to(device) for name, one in maps.items()} for maps in sides.values())
            )
        beyond = outside_share(steps[0].grid)
        if beyond > OUTSIDE:
            warnings.warn(
                f"{beyond:.0%} of the places lie beyond {moving.name or 'the moving volume'}, whose border is repeated "
                "there: look at orientation and field of view.",
                OmlabWarning,
                stacklevel=2,
            )
        field = displacement(composed(steps), fixed=fixed.grid, moving=moving.grid)
        if not np.isfinite(field).all():
            raise InputError("The network's displacements are not finite: check the weights and the volumes.")
        transform = Transform(displacement=field, affine=fixed.affine)
        return Registration(warped=transform.apply(moving), transform=transform)

    def _say_what_is_absent(self, sides: Mapping[str, Mapping[str, Tensor]], volumes: Sequence[Volume]) -> None:
        absent = [name for name in self.regions if not all(bool(maps[name].any()) for maps in sides.values())]
        if absent:
            warnings.warn(
                f"Without the regions {', '.join(absent)} on both sides the registration has less to go by: give "
                "fixed_regions= and moving_regions=, label maps with these names.",
                OmlabWarning,
                stacklevel=3,
            )
        for volume in volumes:
            shape = volume.grid.shape
            if sorted(shape) != sorted(self.sizes):
                size = " x ".join(str(n) for n in self.sizes)
                warnings.warn(
                    f"{volume.name or 'A volume'} has {' x '.join(map(str, shape))} voxels and was brought to {size} "
                    "(dorsoventral, left-right, front-back) for the network.",
                    OmlabWarning,
                    stacklevel=3,
                )

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: a network each."""
        names = [name for name, _ in self.module.named_parameters()]
        return [[name for name in names if name.startswith(f"net.{part}.")] for part in self.module.net]

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> RegistrationModel:
        """A copy, as it is."""
        network = Cascade(self.module.config)
        network.load_state_dict(self.module.state_dict())
        return RegistrationModel(network, device=str(next(self.module.parameters()).device), settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Training on pairs (`omlab_axonseg.register_training`)."""
        from omlab_axonseg.register_training import registration

        return registration(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: the settings and the weights say it."""
        return {"constraints": list(self.module.config.constraints)}


def _branch_of(key: str) -> int:
    """The number of the branch that a key belongs to; 0, which has no weights, for all else."""
    found = _BRANCH.match(key.replace(".usample_", ".dsample_"))
    return int(found[1]) if found else 0


def _scale_in(state: Mapping[str, Tensor]) -> int:
    return 1 + max(map(_branch_of, state), default=0)


def _scale_of(state: Mapping[str, Tensor] | None, *, wanted: int) -> int:
    """The scale of a cascade. Raises `SettingsError` where a file is of a higher one than the setting."""
    known = 1 if state is None else _scale_in(state)
    if wanted and wanted < known:
        raise SettingsError(f"scale is {wanted}, but the weights are of scale {known}: leave it out.")
    return wanted or known


def _check_constraints(state: Mapping[str, Tensor], config: CascadeConfig, *, source: str) -> None:
    """Raise `WeightsError` where a file is no cascade, or one of other constraints."""
    first = state.get("net.affine.0.conv_list.0.0.weight")
    if first is None:
        keys = ", ".join(list(state)[:3])
        raise WeightsError(f"{source} is no registration cascade: no 'net.affine.0' (its keys begin with {keys}).")
    have, want = int(first.shape[1]), config.channels(config.affine_fusion)
    if have != want:
        raise WeightsError(
            f"{source} was trained with {have // 2} constraints, the image among them, and the setting regions names "
            f"{len(config.constraints) - 1}: give its {have // 2 - 1} regions in the order of its training."
        )

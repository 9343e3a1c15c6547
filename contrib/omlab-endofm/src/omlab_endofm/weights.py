"""Published checkpoints: which network a file holds, told by its keys, and its tensors by that network's names.

    endo_fm.pth, kinetics400_vitb_ssl.pth   backbone.* and head.*, the first also under `teacher`; or a bare backbone
    polypdiag.pth                           backbone_state_dict: module.*, state_dict: module.linear.*
    cvc.pth, kumc.pth                       the segmentation's and the detector's own names, the latter under `model`

Upstream loads leniently and prints what did not fit; here every tensor of the network must be there, with no other but
the head of pre-training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from omlab.errors import WeightsError
from omlab.weights import Weights, check_entries, depth_of, read_state_dict
from omlab_endofm.backbone import BackboneConfig

_HEAD_WIDTH = 64
_NEEDED = {"cls_token": 3, "pos_embed": 3, "time_embed": 3, "patch_embed.proj.weight": 4}


def classifier_state(weights: Weights) -> tuple[dict[str, Tensor], BackboneConfig, int]:
    """The tensors of a `Classifier` in a file, its backbone's configuration, and how many classes it tells.

    Raises `WeightsError` where the file holds another network.
    """
    path = weights.path()
    try:
        both = {wrapper: read_state_dict(path, wrapper=wrapper) for wrapper in ("backbone_state_dict", "state_dict")}
        backbone, linear = (_stripped(state, "module.") for state in both.values())
    except WeightsError:
        state = weights.state_dict()
        backbone, linear = _of_teacher(state), {key: value for key, value in state.items() if key.startswith("linear.")}
    config = _config(backbone, source=path)
    found = {f"backbone.{key}": value for key, value in backbone.items() if not key.startswith(("head.", "linear."))}
    return found | linear, config, int(linear["linear.bias"].shape[0]) if "linear.bias" in linear else 0


def plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a segmentation or a detector without what torch's wrappers put before their names."""
    return _stripped(state, "module.")


def _of_teacher(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone of a teacher, or the backbone that the file is."""
    state = _stripped(state, "module.")
    inside = {key[len("backbone.") :]: value for key, value in state.items() if key.startswith("backbone.")}
    return inside or dict(state)


def _stripped(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _config(state: Mapping[str, Tensor], *, source: Path) -> BackboneConfig:
    check_entries(state, _NEEDED, what="an Endo-FM checkpoint", source=source)
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    side = round((state["pos_embed"].shape[1] - 1) ** 0.5)
    depth = depth_of(state, r"blocks\.(\d+)\.")
    if not depth or side * side + 1 != state["pos_embed"].shape[1] or "blocks.0.mlp.fc1.weight" not in state:
        raise WeightsError(f"{source} is not an Endo-FM checkpoint: it has no whole blocks, or no square of places.")
    return BackboneConfig(
        size=side * patch,
        patch=patch,
        width=width,
        depth=depth,
        heads=max(1, width // _HEAD_WIDTH),
        mlp_ratio=state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        frames=state["time_embed"].shape[1],
    )

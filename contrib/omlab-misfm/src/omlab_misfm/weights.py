"""Published checkpoints: which network a file holds, and how its weights get into ours or into one for other targets.

Our keys are the published ones, so loading renames nothing. The published files are PyMIC's, with the weights under
`model_state_dict`. What the weights leave open is the resolution mode of PCT-Net, whose file has the convolutional ends
of all three, and the window that it was made for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from omlab.errors import WeightsError
from omlab.weights import depth_of
from omlab_misfm.fmunet import FmunetConfig
from omlab_misfm.levels import LEVELS, MODES, Mode, kernel_of
from omlab_misfm.networks import Config, Network, is_of_channels, is_of_classes
from omlab_misfm.pctnet import TOKENS_FROM, PctnetConfig
from omlab_misfm.shifted_windows.naive import relative_rows, row_of, table_rows

_TABLE = "relative_position_bias_table"
_INDEX = "relative_position_index"
_UNIT = r"encoder\.en_conv0\.conv_list\.(\d+)\."
_BLOCK = re.compile(r"^pyramid_ct\.convtrans_(e2|e3|e4)\.trans\.blocks\.(\d+)\.")


def config_from_state(state: Mapping[str, Tensor], *, base: Config, mode: Mode | None, source: Path | str) -> Config:
    """The network that `state` belongs to, which must be of the kind of `base`.

    Args:
        state: Weights by name.
        base: What the weights leave open: window, dropout, resolution mode.
        mode: The resolution mode; None: `base`'s for PCT-Net, the file's for FMUNet.
        source: Where `state` comes from, for messages.

    Raises:
        WeightsError: It is another network's, or was made for another window or resolution mode.
    """
    try:
        config = _pctnet(state, base, mode) if isinstance(base, PctnetConfig) else _fmunet(state, base)
    except (KeyError, IndexError, ValueError) as error:
        name = "PCT-Net" if isinstance(base, PctnetConfig) else "FMUNet"
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise WeightsError(
            f"{source} is not a {name} checkpoint, or not a whole one: {what} "
            f"(its keys begin with {', '.join(list(state)[:3])})."
        ) from error
    if isinstance(base, FmunetConfig) and mode not in (None, config.resolution_mode):
        raise WeightsError(f"{source} has resolution mode {config.resolution_mode}, not {mode}.")
    return config


def _fmunet(state: Mapping[str, Tensor], base: FmunetConfig) -> FmunetConfig:
    kernels = tuple(tuple(state[f"encoder.en_conv{n}.conv_list.0.3.weight"].shape[2:]) for n in range(2))
    modes = [one for one in MODES if kernels == (kernel_of(one, 0), kernel_of(one, 1))]
    if not modes:
        raise ValueError(f"no resolution mode has kernels of {kernels}")
    return replace(
        base,
        in_channels=state["project.weight"].shape[1],
        num_classes=len(state["out_layers.0.2.weight"]),
        widths=tuple(len(state[f"encoder.en_conv{n}.conv_list.0.3.weight"]) for n in range(LEVELS)),
        depth=depth_of(state, _UNIT),
        resolution_mode=modes[0],
    )


def _pctnet(state: Mapping[str, Tensor], base: PctnetConfig, mode: Mode | None) -> PctnetConfig:
    parts = [f"pyramid_ct.convtrans_{name}." for name in ("e2", "e3", "e4")]
    blocks: dict[str, int] = {}
    for match in filter(None, map(_BLOCK.match, state)):
        blocks[match[1]] = max(blocks.get(match[1], 0), int(match[2]) + 1)
    own = [f"embeddings.0.conv{n}.conv_conv.0.weight" for n in range(TOKENS_FROM)]
    config = replace(
        base,
        in_channels=state["embeddings.0.proj.weight"].shape[1],
        num_classes=len(state["pyramid_ct.out_conv2.conv.2.weight"]),
        widths=tuple(len(state[key]) for key in [*own, *(f"{part}norm_layer.weight" for part in parts)]),
        resolution_mode=base.resolution_mode if mode is None else mode,
        depths=tuple(blocks[name] for name in ("e2", "e3", "e4")),
        heads=tuple(state[f"{part}trans.blocks.0.attn.{_TABLE}"].shape[1] for part in parts),
    )
    windows = tuple(window_of_rows(len(state[f"{part}trans.blocks.0.attn.{_TABLE}"])) for part in parts)
    if windows != config.windows_for(config.input_size):
        raise ValueError(
            f"its tables are for windows of {windows} tokens, and images of {config.input_size} in resolution mode "
            f"{config.resolution_mode} have {config.windows_for(config.input_size)}: give the patch_size and "
            "resolution_mode that it was trained with"
        )
    return config


def window_of_rows(rows: int) -> int:
    """The window whose table has so many rows. Raises `ValueError` where none has."""
    window = int(round(rows ** (1 / 3)) + 1) // 2
    if table_rows(window) != rows:
        raise ValueError(f"no window has a table of {rows} rows")
    return window


def check_index(state: Mapping[str, Tensor], *, source: Path | str) -> None:
    """Raise `WeightsError` where a file looks up its tables by another rule than the published weights."""
    for key, index in state.items():
        if key.endswith(_INDEX):
            window = round(len(index) ** (1 / 3))
            if not torch.equal(index.cpu().long(), relative_rows(window)):
                raise WeightsError(
                    f"{source} looks up its tables by another rule than PCT-Net's published weights: {key}."
                )


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What `transfer` did with the keys of the network: copied, copied in another form, or left as they were."""

    copied: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]


def transfer(state: Mapping[str, Tensor], network: Network, *, heads: bool) -> Transfer:
    """Load weights for fine-tuning: every key of equal shape, as upstream does.

    A table of another window is resized. For N > 1 channels the convolution that sees the image is repeated N times and
    divided by N.

    Args:
        state: Weights by name.
        network: What they are loaded into.
        heads: Whether what has a row for each class is loaded too, where there are as many.
    """
    done: dict[str, Tensor] = {}
    changed = []
    for key, own in network.state_dict().items():
        given = state.get(key)
        if given is None or key.endswith(_INDEX) or (is_of_classes(key) and not heads):
            continue
        if given.shape != own.shape:
            given = _in_other_form(key, given, own)
            if given is None:
                continue
            changed.append(key)
        done[key] = given
    network.load_state_dict(done, strict=False)
    rest = [key for key in network.state_dict() if key not in done and not key.endswith(_INDEX)]
    copied = tuple(key for key in done if key not in changed)
    return Transfer(copied=copied, changed=tuple(changed), kept=tuple(rest))


def _in_other_form(key: str, given: Tensor, own: Tensor) -> Tensor | None:
    if is_of_channels(key) and given.shape[1] == 1 and given.shape[2:] == own.shape[2:] and len(given) == len(own):
        return given.repeat(1, own.shape[1], 1, 1, 1) / own.shape[1]
    if key.endswith(_TABLE) and given.shape[1] == own.shape[1]:
        return resized_table(given, window=window_of_rows(len(given)), to=window_of_rows(len(own)))
    return None


def resized_table(table: Tensor, *, window: int, to: int) -> Tensor:
    """The table (rows, heads) of a window for another one: what an offset had it keeps.

    Offsets that come to share a row have their mean; those beyond the old window have what the nearest one had; rows
    that no offset has are 0.
    """
    along = torch.arange(1 - to, to)
    offsets = torch.cartesian_prod(along, along, along)
    rows, before = row_of(offsets, to), row_of(offsets.clamp(1 - window, window - 1), window)
    sums = table.new_zeros(table_rows(to), table.shape[1]).index_add_(0, rows, table[before])
    counts = table.new_zeros(table_rows(to)).index_add_(0, rows, table.new_ones(len(rows)))
    return sums / counts.clamp(min=1)[:, None]

"""Resolution modes: which of the two finest levels of a network look at slices, and which at volumes.

An isotropic volume is looked at in three dimensions everywhere; where slices are thick the finest level, or the two
finest, convolve and pool within slices only. Axes are (D, H, W) = (z, y, x) throughout.
"""

from __future__ import annotations

from typing import Literal, get_args

Triple = tuple[int, int, int]
Mode = Literal[0, 1, 2]
"""0 isotropic, 1 mildly anisotropic, 2 strongly anisotropic."""

MODES: tuple[Mode, ...] = get_args(Mode)
LEVELS = 5
"""Of both networks, each with a width of its own; four poolings lie between them."""

_DIMENSIONS: dict[Mode, tuple[int, int]] = {0: (3, 3), 1: (2, 3), 2: (2, 2)}


def kernel_of(mode: Mode, level: int) -> Triple:
    """Kernel of the convolutions at a level: 3x3x3, or 1x3x3 within slices."""
    return (1, 3, 3) if level < 2 and _DIMENSIONS[mode][level] == 2 else (3, 3, 3)


def padding_of(kernel: Triple) -> Triple:
    """What keeps the size under a convolution with an odd kernel."""
    z, y, x = kernel
    return z // 2, y // 2, x // 2


def stride_of(mode: Mode, level: int) -> Triple:
    """By what a level is divided on the way to the next."""
    return (1, 2, 2) if kernel_of(mode, level)[0] == 1 else (2, 2, 2)


def total_stride(mode: Mode) -> Triple:
    """By what the size of an input must be divisible: (16, 16, 16), (8, 16, 16) or (4, 16, 16)."""
    z = 1
    for level in range(LEVELS - 1):
        z *= stride_of(mode, level)[0]
    return z, 2 ** (LEVELS - 1), 2 ** (LEVELS - 1)


def check_shape(*, in_channels: int, num_classes: int, widths: tuple[int, ...], mode: int) -> None:
    """Raise `ValueError` for numbers that no network of this family can have."""
    if mode not in MODES:
        raise ValueError(f"The resolution mode is 0, 1 or 2, not {mode}.")
    if len(widths) != LEVELS:
        raise ValueError(f"There are {LEVELS} levels with a width each, not {widths}.")
    if min(in_channels, num_classes, *widths) < 1:
        raise ValueError(f"{in_channels} channels, {num_classes} classes and widths {widths} must be at least 1.")


def check_input(shape: tuple[int, ...], *, channels: int, mode: Mode) -> None:
    """Raise `ValueError` where an input of `shape` is not (B, channels, D, H, W) with sizes that can be divided."""
    if len(shape) != 5 or shape[1] != channels:
        raise ValueError(f"The input must be (B, {channels}, D, H, W), not {shape}.")
    stride = total_stride(mode)
    if any(size % step or size == 0 for size, step in zip(shape[2:], stride, strict=True)):
        raise ValueError(f"Sizes must be multiples of {stride}, not {shape[2:]}.")

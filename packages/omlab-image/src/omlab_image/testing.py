"""Example images, label maps and samples for tests: small and computed, the same each time.

The n-th image and the n-th label map show the same thing on the same pixels: a fundus in colour, a radiograph of 12
bits with spacing, a frame of ultrasound in grey.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omlab.payloads import Payload
from omlab.roles import About, Sample
from omlab_image.image import Image, LabelMap2D
from omlab_payloads.classes import Classes

NAMES = {1: "disc", 2: "lesion"}
_SHAPES = ((40, 48), (56, 37), (33, 64))
_SPACING = (0.139, 0.143)


def example_images() -> list[Image]:
    """A colour image, one of 12 bits that knows its spacing, one of 8 bits in grey."""
    colour, radiograph, frame = (_intensity(shape) for shape in _SHAPES)
    tint = np.array([1.0, 0.55, 0.3])
    return [
        Image(array=np.rint(255 * colour[..., None] * tint).astype(np.uint8)),
        Image(array=np.rint(4095 * radiograph).astype(np.uint16), bit_depth=12, spacing=_SPACING),
        Image(array=np.rint(255 * frame).astype(np.uint8)),
    ]


def example_labelmaps() -> list[LabelMap2D]:
    """The disc (1) and the lesion (2) of `example_images`."""
    spacings = (None, _SPACING, None)
    return [
        LabelMap2D(array=_classes(shape), names=NAMES, spacing=spacing)
        for shape, spacing in zip(_SHAPES, spacings, strict=True)
    ]


def odd_images() -> dict[str, Image]:
    """Images that a model meets rarely: of floats with NaN, constant, of one pixel, one row, 16 bits in colour."""
    plain = _intensity(_SHAPES[0])
    holed = plain.astype(np.float32)
    holed[::3, 5] = np.nan
    colour = np.stack([plain, plain[::-1], plain[:, ::-1]], axis=2)
    arrays: dict[str, NDArray[np.generic]] = {
        "nan": holed,
        "floats": plain.astype(np.float32),
        "beyond-white": (50 * plain - 20).astype(np.float32),
        "black": np.zeros(plain.shape, np.uint8),
        "white": np.full((*plain.shape, 3), 255, np.uint8),
        "one-pixel": np.full((1, 1), 7, np.uint8),
        "one-row": np.rint(255 * plain[:1]).astype(np.uint8),
        "colour-of-16-bits": np.rint(65535 * colour).astype(np.uint16),
    }
    return {name: Image(array=array) for name, array in arrays.items()}


def odd_labelmaps() -> dict[str, LabelMap2D]:
    """Label maps without a class, of one pixel, and with a value far beyond the others."""
    classes = _classes(_SHAPES[0])
    far = classes.astype(np.uint16)
    far[0, 0] = 60000
    return {
        "empty": LabelMap2D(array=np.zeros_like(classes)),
        "one-pixel": LabelMap2D(array=classes[:1, :1]),
        "far-value": LabelMap2D(array=far),
    }


def disc(number: int, *, rows: int = 40, columns: int = 48) -> tuple[Image, LabelMap2D, bool]:
    """A grey picture with a bright (even numbers) or dark disc, where that is, and whether it is bright."""
    random = np.random.default_rng(number)
    is_bright = number % 2 == 0
    y, x = np.mgrid[:rows, :columns]
    middle = (rows / 2 + random.integers(-5, 6), columns / 2 + random.integers(-8, 9))
    inside = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < (rows / 5) ** 2
    pixels = random.normal(90, 10, (rows, columns)) + (120 if is_bright else -70) * inside
    image = Image(array=pixels.clip(0, 255).astype(np.uint8), spacing=(0.2, 0.1))
    labels = LabelMap2D(array=(7 * inside).astype(np.uint8), names={7: "nodule"}, spacing=(0.2, 0.1))
    return image, labels, is_bright


def discs(count: int, *, target: str = "") -> tuple[list[Sample], About]:
    """Samples of discs, and what is said of them; `target` is "classes", "labelmap-2d", or "" for none."""
    samples = []
    for number in range(count):
        image, labels, is_bright = disc(number)
        light = Classes(names=("bright", "dark"), probabilities=(float(is_bright), float(not is_bright)))
        targets: dict[str, Payload] = {"classes": light, "labelmap-2d": labels}
        samples.append(Sample(id=str(number), inputs={"image": image}, target=targets.get(target)))
    names = {"classes": {0: "bright", 1: "dark"}, "labelmap-2d": {7: "nodule"}}
    return samples, About(inputs={"image": "image"}, target=target, classes=names.get(target, {}))


def _coordinates(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column of each pixel from -1 to 1."""
    rows, columns = (np.linspace(-1, 1, n) for n in shape)
    row, column = np.meshgrid(rows, columns, indexing="ij")
    return row, column


def _classes(shape: tuple[int, int]) -> NDArray[np.uint8]:
    row, column = _coordinates(shape)
    classes = np.zeros(shape, np.uint8)
    classes[(row / 0.35) ** 2 + ((column - 0.3) / 0.3) ** 2 < 1] = 1
    classes[((row + 0.4) / 0.2) ** 2 + ((column + 0.4) / 0.25) ** 2 < 1] = 2
    return classes


def _intensity(shape: tuple[int, int]) -> NDArray[np.float64]:
    """From 0 to 1: a bright disc and a dark lesion in a textured field on black."""
    row, column = _coordinates(shape)
    field = 0.45 + 0.08 * np.sin(37 * row + 3) * np.cos(29 * column) + np.array([0.0, 0.4, -0.3])[_classes(shape)]
    return np.where(row**2 + column**2 < 0.9, field, 0.0)

"""Small pictures, and what they are described by: no torch."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from omlab.errors import InputError
from omlab_payloads.embedding import Embedding


@dataclass(frozen=True, eq=False)
class Patch:
    kind: ClassVar[str] = "patch"
    values: np.ndarray


class PatchFile:
    def read(self, path, *, kind, key=None):
        if path.suffix == ".txt":
            return Patch(np.full((8, 8, 3), float(path.read_text())))
        try:
            with Image.open(path) as image:
                return Patch(np.asarray(image.convert("RGB").resize((8, 8)), float) / 255)
        except OSError as error:
            raise InputError(f"{path} is no picture: {error}.") from error


class Palette:
    def __init__(self, offset):
        self.offset = offset

    def embed(self, batch, /, *, blur):
        for inputs in batch:
            quarters = inputs["patch"].values.reshape(2, 4, 2, 4, 3).mean((1, 3)).reshape(4, 3)
            if blur:
                quarters = np.repeat(quarters.mean(0)[None], 4, axis=0)
            yield Embedding(vector=(quarters - 0.5 + self.offset).ravel().astype(np.float32), model="palette")


def load(card, *, weights, needs, device, settings, config):
    return Palette(settings["offset"])

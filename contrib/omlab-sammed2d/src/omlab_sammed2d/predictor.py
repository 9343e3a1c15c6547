"""From prompts in an image to masks of its objects, in the image's own pixels."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab.errors import InputError, UsageError
from omlab_image.image import Image, LabelMap2D
from omlab_prompts.prompts import Object, Prompts
from omlab_sam.network import Sam
from omlab_sam.rounds import Answered, Asked, answer
from omlab_sammed2d.frames import ChannelOrder, Fit, Frame
from omlab_volume.inference.claims import Claims

AT_ONCE = 32
"""Objects that go through the decoder at once."""


class Segmenter:
    """A network, and how images are put to it.

    Args:
        sam: In eval mode, on the device that is to be used.
        fit: How an image gets into the network's square (`omlab_sammed2d.frames`).
        order: Of the channels that the weights were trained with.
    """

    def __init__(self, sam: Sam, *, fit: Fit = "resize", order: ChannelOrder = "bgr") -> None:
        self.sam, self.fit, self.order = sam, fit, order

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.sam.mask_decoder.iou_token.weight.device

    def frame(self, shape: tuple[int, int]) -> Frame:
        """How an image of that many rows and columns lies in the network's square."""
        return Frame(shape=shape, side=self.sam.image_size, fit=self.fit)

    def encode(self, images: Sequence[NDArray[Any]]) -> list[Tensor]:
        """Embeddings (1, C, S, S) of images (H, W) or (H, W, 3) of 0 to 255, in one batch."""
        if not images:
            return []
        squares = [self.frame(one.shape[:2]).image(one, order=self.order) for one in images]
        with torch.inference_mode():
            found: Tensor = self.sam.image_encoder(torch.stack(squares).to(self.device))
        return list(torch.split(found, 1))

    def answer(self, embeddings: Sequence[Tensor], asked: Sequence[Asked]) -> Answered:
        """What N objects come to after all rounds, with the mask of the highest predicted IoU.

        The mask prompt of a round is the sigmoid of the logits of the round before, as in the authors' training.
        """
        parts = [
            answer(
                self.sam,
                embeddings[first : first + AT_ONCE],
                asked[first : first + AT_ONCE],
                mask_prompt=torch.sigmoid,
                multimask=True,
            )
            for first in range(0, max(len(asked), 1), AT_ONCE)
        ]
        return Answered(*(torch.cat(values) for values in zip(*parts, strict=True)))


class Masks(Claims):
    """The masks of objects, each in one slice, and the IoUs that the network predicts for them."""

    def __init__(self, shape: tuple[int, ...], *, objects: int) -> None:
        super().__init__(shape, objects=objects)
        self._pixels, self._ious = np.zeros(objects), np.zeros(objects)

    def add(self, logits: Tensor, iou: Tensor, *, label: int, at: Any = ...) -> None:
        """Take in an object's logits (H, W) of the pixels `at` an index, and the IoU predicted for them."""
        found = logits.float().cpu().numpy()
        self.claim(found, label=label, at=at)
        pixels = np.count_nonzero(found > 0)
        self._pixels[label - 1] += pixels
        self._ious[label - 1] += pixels * float(iou)

    def told(self, names: Sequence[str], *, voxel_ml: float | None) -> dict[str, Any]:
        """What a label map tells: as `Claims.facts`, with the mean predicted IoU, slices weighing by their pixels."""
        means = {
            name: {"predicted_iou": round(float(total / pixels), 5)}
            for name, total, pixels in zip(names, self._ious, self._pixels, strict=True)
            if pixels
        }
        return self.facts(names, voxel_ml=voxel_ml, more=means)


class ImagePredictor:
    """Masks of objects in images. The embeddings of the last batch are remembered while somebody holds its images."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self._encoded: MutableMapping[Image, Tensor] = WeakKeyDictionary()

    def encode(self, images: Sequence[Image]) -> None:
        """Encode the images of a batch that are not yet known, those of one size and all, at once.

        Raises `InputError` where pixels are not finite.
        """
        kept = {image: self._encoded[image] for image in images if image in self._encoded}
        self._encoded.clear()
        self._encoded.update(kept)
        new = [image for image in dict.fromkeys(images) if image not in kept]
        self._encoded.update(zip(new, self.segmenter.encode([pixels_of(image) for image in new]), strict=True))

    def predict(self, image: Image, prompts: Prompts) -> LabelMap2D:
        """The objects of `prompts` as labels 1, 2, ... in their order, on the pixels of `image`.

        A box goes first, alone; then one click more in each round, with the mask of the round before. Several boxes of
        an object are several parts of it: each has the clicks in it and all that lie outside the object.

        Raises:
            InputError: The image has pixels that are not finite.
            GeometryError: The prompts are not pixels of this image.
            UsageError: An object has neither a box nor a click in it.
        """
        pixels = prompts.in_pixels(shape=image.shape, image=str(prompts.image or image.name or "the image"))
        frame = self.segmenter.frame(image.shape)
        sets = [sets_of(*flat_prompts(entry), frame=frame) for entry in pixels.objects]
        for entry, found in zip(pixels.objects, sets, strict=True):
            check_pointed(entry.name, found)
        if image not in self._encoded:
            self.encode([image])
        asked = [one for found in sets for one in found]
        answered = self.segmenter.answer([self._encoded[image]] * len(asked), asked)
        masks, first = Masks(image.shape, objects=len(sets)), 0
        for number, found in enumerate(sets, start=1):
            mine = slice(first, first + len(found))
            low = answered.logits[mine].amax(dim=0, keepdim=True)
            masks.add(frame.back(low)[0], answered.ious[mine].mean(), label=number)
            first += len(found)
        names = [entry.name for entry in pixels.objects]
        return LabelMap2D(
            array=masks.labels,
            names=dict(enumerate(names, start=1)),
            spacing=image.spacing,
            facts=masks.told(names, voxel_ml=None),
        )


def pixels_of(image: Image) -> NDArray[np.uint8]:
    """The pixels as 8 bits. Raises `InputError` where they are not finite."""
    if not image.is_finite():
        raise InputError(f"{image.name or 'The image'} has pixels that are NaN or infinite.")
    return image.eight_bit()


def flat_prompts(entry: Object) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Boxes (b, 4) x0, y0, x1, y1, points (n, 2) and labels (n,) of an object in pixels."""
    boxes = np.array([(*box.near, *box.far) for box in entry.boxes], np.float64).reshape(-1, 4)
    points = np.array([point.at for point in entry.points], np.float64).reshape(-1, 2)
    return boxes, points, np.array([point.label for point in entry.points], np.int64)


def sets_of(
    boxes: NDArray[np.float64], points: NDArray[np.float64], labels: NDArray[np.int64], *, frame: Frame
) -> list[Asked]:
    """What the network is asked for one object in one image: one set of prompts for each box, or one without.

    With several boxes a click in the object goes to the boxes that it lies in, or to a set without a box where it lies
    in none; a click outside it goes to all. Empty where there is neither a box nor a click in the object.
    """
    if not len(boxes) and not (labels == 1).any():
        return []
    places, kinds = frame.places(points), torch.from_numpy(labels)
    corners = frame.places(boxes.reshape(-1, 2)).reshape(-1, 4)
    if len(boxes) < 2:
        return [Asked(points=places, labels=kinds, box=corners[0] if len(boxes) else None)]
    inside = np.all((points[None] >= boxes[:, None, :2]) & (points[None] <= boxes[:, None, 2:]), axis=2)
    shares = [(row | (labels == 0), corners[number]) for number, row in enumerate(list(inside))]
    stray = (labels == 1) & ~inside.any(axis=0)
    sets = [Asked(points=places[mine], labels=kinds[mine], box=box) for mine, box in shares]
    if stray.any():
        mine = stray | (labels == 0)
        sets.append(Asked(points=places[mine], labels=kinds[mine]))
    return sets


def check_pointed(name: str, found: Sequence[Any]) -> None:
    """Raise `UsageError` where an object is pointed at by nothing but clicks outside it."""
    if not found:
        raise UsageError(f"'{name}' has neither a box nor a click in it, only clicks outside: add one of them.")

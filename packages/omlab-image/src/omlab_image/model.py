"""What models of images have in common, for the models of packages to derive from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

import omlab
from omlab.errors import InputError
from omlab.payloads import Inputs, Payload
from omlab_image.answers import Task, classes_of, outputs_of
from omlab_image.image import Image

Network = TypeVar("Network", bound=nn.Module)


class ImageModel(Generic[Network]):
    """A network with its task: `predict` of a classifier; a package adds `prepare`, `embed` and what is trained.

    Args:
        module: The network.
        task: What it tells; empty for an encoder.
        name: Of the card.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card that are asked for later on.
    """

    task: Task

    def __init__(
        self, module: Network, *, task: Task, name: str, device: str, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.module = module.to(device).eval()
        self.task, self.name, self.settings = task, name, dict(settings or {})

    @property
    def device(self) -> str:
        """Where the network is."""
        return str(next(self.module.parameters()).device)

    def predict(self, batch: Sequence[Any], /) -> Iterator[Payload]:
        """The probability of each class; a batch is of images as the network sees them, [3, H, W]."""
        for logits in outputs_of(self.module, batch):
            yield classes_of(logits, names=self.task.classes, threshold=self.task.threshold)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An image as a network sees it, [3, S, S], and the image itself, whose pixels a label map is on."""

    seen: Tensor
    image: Image


def finite_image(inputs: Inputs) -> Image:
    """The image among inputs. Raises `InputError` where a pixel is no number."""
    image = omlab.take(inputs, "image", Image)
    if not image.is_finite():
        raise InputError(f"{image.name or 'The image'} has pixels that are NaN or infinite: mend or leave it out.")
    return image

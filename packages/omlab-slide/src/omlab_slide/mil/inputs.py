"""Which bags a case holds, and their features as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import omlab
from omlab.errors import InputError, UsageError
from omlab.payloads import Inputs
from omlab.session import Session
from omlab_slide.bag import Bag, Bags
from omlab_slide.mil.several import BagOfSlide
from omlab_slide.slide import Slide

if TYPE_CHECKING:
    from torch import Tensor

BAG = "bag"


def bags_of(inputs: Inputs, encoder: Session | None) -> tuple[Bag, ...]:
    """The bags of a case: one, or those of several slides. Slides are encoded by `encoder`.

    Raises `UsageError` where there is a slide and no encoder for it.
    """
    given = inputs.get(BAG)
    if given is None:
        given = next((BagOfSlide(slide=one) for one in inputs.values() if isinstance(one, Slide)), None)
    if isinstance(given, Bags):
        return tuple(bag for part in given.parts_of_case for bag in bags_of({BAG: part}, encoder))
    if isinstance(given, BagOfSlide):
        return (encoded(given, encoder),)
    return (omlab.take(inputs, BAG, Bag),)


def encoded(given: BagOfSlide, encoder: Session | None) -> Bag:
    """The bag of a slide. Raises `UsageError` where there is no encoder that makes bags of slides."""
    if encoder is None:
        raise UsageError(
            f"{given.slide.name} is a slide, and this model works on features: embed it first (omlab embed ENCODER "
            "SLIDES -o features/), or, unless it is to learn, name what makes them, such as "
            "--need encoder=slide-features."
        )
    facts = encoder.card.does.get("embed")
    if facts is None or facts.gives != BAG:
        others = ", ".join(encoder.card.also) or "slide-features"
        raise UsageError(f"'{encoder.name}' makes no bags of slides: name its form for slides ({others}).")
    bag = encoder.embed(given.slide)
    assert isinstance(bag, Bag)  # the session has checked the kind
    return bag


def features_of(bag: Bag, *, width: int, name: str, rows: Sequence[int] | None = None) -> Tensor:
    """The features (N, D) of a bag, float32; of the patches `rows` alone where they are named, which must grow.

    Raises `InputError` where there are not `width` of them a patch, or one is NaN or infinite.
    """
    import torch

    found = bag.features.shape[1]
    if found != width:
        made = bag.encoder.get("name", "")
        raise InputError(
            f"{name} has features of {found} numbers{f' (of {made})' if made else ''}, but the network takes {width}: "
            "embed the slide by the encoder that it was trained with."
        )
    array = np.asarray(bag.features[:], np.float32)
    if rows is not None:
        array = array[np.asarray(rows)]
    if not np.isfinite(array).all():
        raise InputError(f"{name} has features that are NaN or infinite: make them again.")
    return torch.from_numpy(np.array(array, np.float32))  # a copy: what was read may be read-only

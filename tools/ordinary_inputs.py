"""Inputs of ordinary size, drawn from a seed: what the costs of models are measured on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from omlab.card_schema import ModelCard
from omlab.session import Session

SIDE, SPACING = 128, 1.5
MIDDLE = SIDE * SPACING / 2  # mm


def ordinary(card: ModelCard, verb: str) -> str | None:
    """What a verb is measured on, in words. None: one of its required inputs has no ordinary size."""
    kinds = _required(card, verb)
    if not set(kinds) <= {*WORDS, "prompts", "support"}:
        return None
    counts = {kind: kinds.count(kind) for kind in WORDS if kind in kinds}
    if len(counts) != 1:
        return None
    ((kind, count),) = counts.items()
    words = WORDS[kind] if count == 1 else f"{count}, each a {WORDS[kind]}"
    prompt = f", one {'click' if 'points' in _facets(card, verb) else 'box'}" if "prompts" in kinds else ""
    return words + prompt + (", three annotated ones" if "support" in kinds else "")


def drawn(session: Session, verb: str, *, seed: int) -> dict[str, Any]:
    """The required inputs of a verb that `ordinary` has words for, by name."""
    card = session.card
    return {
        name: _prompts(card, verb)
        if (kind := card.does[verb].kinds[name]) == "prompts"
        else MAKERS[kind](session, seed + number)
        for number, name in enumerate(card.does[verb].required)
    }


def _required(card: ModelCard, verb: str) -> list[str]:
    does = card.does[verb]
    return [does.kinds[name] for name in does.required]


def _facets(card: ModelCard, verb: str) -> tuple[str, ...]:
    accepted = [facets for name, facets in card.does[verb].accepts.items() if card.does[verb].kinds[name] == "prompts"]
    return tuple(accepted[0]) if accepted else ("points",)


def _prompts(card: ModelCard, verb: str) -> Any:
    """A click into the middle, or a box around it where the model takes no clicks."""
    from omlab_prompts.prompts import Box, Object, Point, Prompts

    flat = "image" in _required(card, verb)
    middle = (256.0, 256.0) if flat else (MIDDLE,) * 3
    if "points" in _facets(card, verb):
        pointed = Object(name="object", points=(Point(at=cast(Any, middle)),))
    else:
        near, far = (tuple(number * share for number in middle) for share in (0.6, 1.4))
        pointed = Object(name="object", boxes=(Box(near=cast(Any, near), far=cast(Any, far)),))
    return Prompts(space="pixel" if flat else "ras", image="image.png" if flat else None, objects=(pointed,))


def _volume(session: Session, seed: int) -> Any:
    from omlab_volume.volume import Volume

    draws = np.random.default_rng(seed).normal(0, 100, (1, SIDE, SIDE, SIDE)).astype(np.float32)
    return Volume(array=draws, affine=np.diag([SPACING, SPACING, SPACING, 1.0]), intensity="hu")


def _support(session: Session, seed: int) -> Any:
    from omlab_medlsam.supports import LoadedScan, Support
    from omlab_volume.volume import Label, LabelMap

    cube = np.zeros((SIDE, SIDE, SIDE), np.uint8)
    cube[40:80, 40:80, 40:80] = 1
    volumes = [_volume(session, seed + number) for number in range(3)]
    scans = [
        LoadedScan(
            name=f"scan-{number}",
            image=volume,
            labels=LabelMap(array=cube, affine=volume.affine, labels=(Label(value=1, name="organ"),)),
        )
        for number, volume in enumerate(volumes)
    ]
    return Support(scans=tuple(scans))


def _image(session: Session, seed: int) -> Any:
    from omlab_image.image import Image

    return Image(array=np.random.default_rng(seed).integers(0, 256, (512, 512, 3), dtype=np.uint8))


def _clip(session: Session, seed: int) -> Any:
    from omlab_video.clip import Clip

    return Clip.of(np.random.default_rng(seed).integers(0, 256, (32, 256, 256, 3), dtype=np.uint8), rate=25.0)


def _sequence(session: Session, seed: int) -> Any:
    from omlab_protein.sequence import Sequence

    return Sequence(letters="".join(np.random.default_rng(seed).choice(list("ACDEFGHIKLMNPQRSTVWY"), 250)))


def _slide(session: Session, seed: int) -> Any:
    from omlab_slide.testing import draw_slide, held

    return held(draw_slide((4096, 3072), seed=seed), levels=3)


def _bag(session: Session, seed: int) -> Any:
    """10,000 patches of as many features as the model takes."""
    from omlab_slide.bag import Bag

    draws = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(100), np.arange(100))
    return Bag(
        features=draws.normal(size=(x.size, cast(Any, session.model).shape["embed_dim"])).astype(np.float32),
        coords=np.stack([x.ravel(), y.ravel()], axis=1).astype(np.int32) * 256,
        share=np.ones(x.size, np.float16),
        size0=256,
        dimensions=(25_600, 25_600),
        mpp=0.5,
    )


WORDS = {
    "volume": f"volume of {SIDE} x {SIDE} x {SIDE} voxels",
    "image": "image of 512 x 512 pixels",
    "clip": "clip of 32 frames",
    "sequence": "250 residues",
    "slide": "slide of 4,096 x 3,072 pixels",
    "bag": "bag of 10,000 patches",
}
MAKERS: dict[str, Callable[[Session, int], Any]] = {
    "volume": _volume,
    "image": _image,
    "clip": _clip,
    "sequence": _sequence,
    "slide": _slide,
    "bag": _bag,
    "support": _support,
}

"""Which patch comes at which place of a training: the classes, or their slides, take turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from omlab_train.settings import mixed_seed

Places = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class TurnsOrder:
    """Place t belongs to class t mod K; that class's slides take turns, and each slide's patches.

    Patches of a slide are shuffled, and shuffled again when all have come. With one slide a class the patches of a
    class come so, which is what CITE calls `patch_balance`; with its slides apart, `slide_balance`. Unlike upstream's,
    it is a function of seed and place alone, whatever the number of processes that make batches.

    Attributes:
        seed: What all is drawn from.
        turns: For each class, for each of its slides, the indices of its patches.
    """

    seed: int
    turns: tuple[Places, ...]

    weights = None  # as of `omlab_image.training.order.Order`: nothing is drawn by weight

    def __call__(self, place: int) -> tuple[int, int]:
        """The index of the case at a place (0, 1, ...), and a seed for what is drawn there."""
        turn, klass = divmod(place, len(self.turns))
        slides = self.turns[klass]
        round_, slide = divmod(turn, len(slides))
        patches = slides[self._shuffled(len(slides), klass, -1, 0)[slide]]
        again, patch = divmod(round_, len(patches))
        index = patches[self._shuffled(len(patches), klass, slide, again)[patch]]
        return index, mixed_seed(self.seed, place)

    def _shuffled(self, count: int, *what: int) -> NDArray[np.int64]:
        return _permutation(count, mixed_seed(self.seed, *what))


def turns_of(
    labels: Sequence[str], slides: Sequence[str | None], *, classes: Sequence[str], by_slide: bool
) -> tuple[Places, ...]:
    """The turns of patches: classes in their order, those without a patch left out, slides as they first come.

    Args:
        labels: The class of each patch.
        slides: The slide of each; None: it is one of its own.
        classes: All classes.
        by_slide: Slides take turns; else all patches of a class are one.
    """
    found: dict[str, dict[str, list[int]]] = {name: {} for name in classes}
    for index, (label, slide) in enumerate(zip(labels, slides, strict=True)):
        turn = (slide if slide is not None else f"patch {index}") if by_slide else ""
        found[label].setdefault(turn, []).append(index)
    return tuple(tuple(map(tuple, slides.values())) for slides in found.values() if slides)


@lru_cache(maxsize=4096)
def _permutation(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed % 2**64).permutation(count)

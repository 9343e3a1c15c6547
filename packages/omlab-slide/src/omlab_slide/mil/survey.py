"""What training wants to know of a data set's bags beforehand (`PayloadCard.survey`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from omlab import progress
from omlab.errors import InputError, OmlabError
from omlab.roles import Case
from omlab_slide.mil.inputs import bags_of
from omlab_slide.mil.origin import Origin


def survey(cases: Sequence[Case], name: str) -> dict[str, Any]:
    """`width` of the features, their `origin` as far as all bags share it, `patches` of a bag: fewest, median and most.

    Of each bag its facts are read, not its features. Raises `InputError` where bags have features of different widths
    or of different encoders.
    """
    widths: Counter[int] = Counter()
    encoders: Counter[str] = Counter()
    origins: set[Origin] = set()
    counts: list[int] = []
    first: dict[int | str, str] = {}
    with progress.bar("looking at bags", total=len(cases)) as advance:
        for case in cases:
            try:
                found = bags_of({"bag": case.load().inputs[name]}, None)
            except OmlabError as error:
                raise InputError(f"Case '{case.id}' cannot be read: {error}") from error
            for bag in found:
                width, origin = int(bag.features.shape[1]), Origin.of(bag)
                encoder = origin.encoder
                origins.add(origin)
                widths[width] += 1
                encoders[encoder] += 1
                counts.append(len(bag))
                first.setdefault(width, case.id)
                first.setdefault(encoder, case.id)
            advance(1)
    for what, seen in (("features of different widths", widths), ("features of different encoders", encoders)):
        if len(seen) > 1:
            told = ", ".join(f"{value or 'not said'} ({first[value]})" for value in seen)
            raise InputError(f"The bags have {what}: {told}. Embed all slides by one encoder.")
    return {
        "width": next(iter(widths)),
        "origin": Origin.shared(origins).to_config(),
        "patches": [int(np.min(counts)), int(np.median(counts)), int(np.max(counts))],
    }

"""What slide networks give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor


class Instances(NamedTuple):
    """What the instance branch said of the patches it was shown.

    Attributes:
        logits: (R, 2), the class's own patches being 1.
        targets: (R,), 1 for patches of high attention in the bag's class, else 0.
        classes: (R,), whose classifier it was.
        bags: (R,), which bag a patch is of.
    """

    logits: Tensor
    targets: Tensor
    classes: Tensor
    bags: Tensor


class MilOutput(NamedTuple):
    """What a slide network gives of B packed bags.

    Attributes:
        logits: (B, C).
        attention: (sum N, K) scores of patches, before any softmax; K is 1 or C.
        instances: Of the instance branch, where labels were given to a network that has one.
        loss: What the network itself minimises of the bags, where labels were given to one that brings its loss.
    """

    logits: Tensor
    attention: Tensor
    instances: Instances | None = None
    loss: Tensor | None = None


def by_bag_and_class(instances: Instances) -> Iterator[tuple[int, Tensor, Tensor]]:
    """The logits and targets of each classifier that was asked of a bag, as (bag, (R, 2), (R,)), in their order."""
    pairs = list(zip(instances.bags.tolist(), instances.classes.tolist(), strict=True))
    begin = 0
    for end in range(1, len(pairs) + 1):
        if end == len(pairs) or pairs[end] != pairs[begin]:
            yield pairs[begin][0], instances.logits[begin:end], instances.targets[begin:end]
            begin = end

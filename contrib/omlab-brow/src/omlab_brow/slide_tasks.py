"""The tasks of BROW's published slide classifiers: classes in the order of their outputs, slides and folds.

Facts of its label tables and splits (openmedlab/BROW at 160487d): slides of each class, and how many of them are in the
parts of the first fold. Files do not hold the names of classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SlideTask:
    """What a published classifier tells.

    Attributes:
        slides: Of each class, in the order of the outputs.
        folds: Files there are, one for each.
        first_fold: Slides in `train`, `val` and `test` of fold 0.
    """

    slides: Mapping[str, int]
    folds: int
    first_fold: Mapping[str, int]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(self.slides)


SLIDE_TASKS: dict[str, SlideTask] = {
    "BRCA": SlideTask(slides={"IDC": 774, "ILC": 199}, folds=10, first_fold={"train": 779, "val": 97, "test": 97}),
    "RCC": SlideTask(
        slides={"CCRCC": 518, "CHRCC": 90, "PRCC": 288}, folds=10, first_fold={"train": 716, "val": 90, "test": 90}
    ),
    "NSCLC": SlideTask(slides={"LUAD": 500, "LUSC": 500}, folds=10, first_fold={"train": 795, "val": 101, "test": 104}),
    "CAM16": SlideTask(
        slides={"normal": 239, "tumor": 160}, folds=10, first_fold={"train": 243, "val": 27, "test": 129}
    ),
    "PANDA": SlideTask(
        slides={"grades0": 2891, "grades1": 7724}, folds=5, first_fold={"train": 7431, "val": 1061, "test": 2123}
    ),
}
"""By the names of the published tables; CAM16 is CAMELYON16, PANDA grade 0 against all others."""

"""The five sets of MedFMC: their classes, how a line of their lists is read, and what belongs to one patient.

Source: Wang et al., A real-world dataset and benchmark for foundation model adaptation in medical image classification,
Scientific Data 10:574 (2023).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from omlab.errors import UsageError
from omlab.suggest import did_you_mean

Rule = Literal["image", "study", "two-class"]
SUFFIXES = (".png", ".jpg", ".jpeg")
_REGION = re.compile(r"p\d+$")
_SLIDE = re.compile(r"^(\d+-\d+)-")
ENDO_STUDY = 18
INFANT = 4


@dataclass(frozen=True, kw_only=True)
class MedfmcSet:
    """One set.

    Attributes:
        name: Of the challenge's lists.
        folders: What its folder is called, in the challenge and in the paper's release.
        classes: In the order of the lists.
        multi_label: Whether a case has any number of classes; else one.
        rule: How few-shot sets are drawn (`omlab_medfmc.support`).
        line: A labelled line of its lists: the name and the labels.
        published: Whether the challenge published few-shot lists.
        counts: Cases of the published lists by name.
    """

    name: str
    folders: tuple[str, str]
    classes: tuple[str, ...]
    multi_label: bool
    rule: Rule
    line: re.Pattern[str]
    published: bool
    counts: dict[str, int]

    def study(self, name: str) -> str:
        """The study of an image: what few-shot sets are drawn by. Of a radiograph or a fundus photo, itself."""
        stem = without_suffix(name)
        match self.name:
            case "colon":
                return _REGION.sub("", stem)
            case "endo":
                return stem[:ENDO_STUDY]
            case "neojaundice":
                return stem[:INFANT]
        return stem

    def patient(self, name: str) -> str:
        """What must not be split between training and test: as the study, but of ColonPath all regions of a slide."""
        slide = _SLIDE.match(name) if self.name == "colon" else None
        return slide[1] if slide else self.study(name)


def without_suffix(name: str) -> str:
    """A name of an image without its suffix; other dots are part of the name."""
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def _single(last: int) -> re.Pattern[str]:
    return re.compile(rf"^(?P<name>.+) (?P<labels>[0-{last}])$")


SETS: dict[str, MedfmcSet] = {
    one.name: one
    for one in (
        MedfmcSet(
            name="chest",
            folders=("chest", "ChestDR"),
            classes=(
                "pleural_effusion",
                "nodule",
                "pneumonia",
                "cardiomegaly",
                "hilar_enlargement",
                "fracture_old",
                "fibrosis",
                "aortic_calcification",
                "tortuous_aorta",
                "thickened_pleura",
                "TB",
                "pneumothorax",
                "emphysema",
                "atelectasis",
                "calcification",
                "pulmonary_edema",
                "increased_lung_markings",
                "elevated_diaphragm",
                "consolidation",
            ),
            multi_label=True,
            rule="image",
            line=re.compile(r"^(?P<name>\S+) (?P<labels>[01](,[01]){18})$"),
            published=True,
            counts={
                "trainval": 979,
                "train_20": 783,
                "val_20": 196,
                "test_WithLabel": 1161,
                "test_WithoutLabel": 2708,
                "fewshot-pool": 979,
                "test": 3869,
            },
        ),
        MedfmcSet(
            name="colon",
            folders=("colon", "ColonPath"),
            classes=("negative", "positive"),
            multi_label=False,
            rule="two-class",
            line=_single(1),
            published=True,
            counts={
                "trainval": 2358,
                "train_20": 1677,
                "val_20": 681,
                "test_WithLabel": 3296,
                "test_WithoutLabel": 4355,
                "fewshot-pool": 1947,
                "test": 8062,
            },
        ),
        MedfmcSet(
            name="endo",
            folders=("endo", "Endo"),
            classes=("ulcer", "erosion", "polyp", "tumor"),
            multi_label=True,
            rule="study",
            line=re.compile(r"^(?P<name>.+) (?P<labels>[01] [01] [01] [01])$"),
            published=True,
            counts={
                "trainval": 929,
                "train_20": 743,
                "val_20": 186,
                "test_WithLabel": 881,
                "test_WithoutLabel": 2055,
                "fewshot-pool": 929,
                "test": 2936,
            },
        ),
        MedfmcSet(
            name="neojaundice",
            folders=("neojaundice", "NeoJaundice"),
            classes=("low bilirubin (below 12.9 mg/dL)", "high bilirubin"),
            multi_label=False,
            rule="two-class",
            line=_single(1),
            published=False,
            counts={"fewshot-pool": 444, "test": 1791},
        ),
        MedfmcSet(
            name="retino",
            folders=("retino", "Retino"),
            classes=("no DR", "mild", "moderate", "severe", "proliferative DR"),
            multi_label=False,
            rule="image",
            line=_single(4),
            published=False,
            counts={"fewshot-pool": 282, "test": 1110},
        ),
    )
}
CHALLENGE = ("chest", "colon", "endo")
SHOTS = (1, 5, 10)
RUNS = (1, 2, 3, 4, 5)


def set_of(name: str) -> MedfmcSet:
    """A set by its name, such as `chest` or `ChestDR`. Raises `UsageError`."""
    for one in SETS.values():
        if name in (one.name, *one.folders):
            return one
    raise UsageError(f"MedFMC has no set '{name}': {did_you_mean(name, SETS, none='it has none.')}")

"""The rules by which CITE splits PatchGastricADC22 and draws few slides, and the lists that its script writes.

A slide is a file's name up to the first underscore. Of the subtypes three classes are kept. Source: Zhang et al.,
MICCAI 2023, and the published script's facts.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from omlab.errors import InputError

CLASSES = (
    "Well differentiated tubular adenocarcinoma",
    "Moderately differentiated tubular adenocarcinoma",
    "Poorly differentiated adenocarcinoma",
)
SUBTYPES = {
    "Well differentiated tubular adenocarcinoma": 0,
    "Moderately differentiated tubular adenocarcinoma": 1,
    "Poorly differentiated adenocarcinoma, non-solid type": 2,
    "Poorly differentiated adenocarcinoma, solid type": 2,
}
"""The class of each subtype that is kept."""
_COLUMNS = ("id", "subtype", "text")


@dataclass(frozen=True, kw_only=True)
class Slide:
    """A row of the table: the slide's id, its subtype and what a pathologist wrote of it."""

    id: str
    subtype: str
    caption: str

    @property
    def label(self) -> int | None:
        """The place of its class; None: it is left out."""
        return SUBTYPES.get(self.subtype)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Names of patches with the places of their classes.

    Attributes:
        train: In the order of the listing.
        test: Class by class, each in that order; upstream calls it `val`.
    """

    train: Sequence[tuple[str, int]]
    test: Sequence[tuple[str, int]]


def slide_of(name: str) -> str:
    """The slide of a patch, by the patch's file name."""
    return name.partition("_")[0]


def read_table(path: Path) -> list[Slide]:
    """The rows of `captions.csv` in their order.

    Raises:
        InputError: It cannot be read, a column is not there, or a row is not whole; names the row.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            columns = [column.strip() for column in rows.fieldnames or ()]
            lacking = [column for column in _COLUMNS if column not in columns]
            if lacking:
                raise InputError(
                    f"{path} has no column '{lacking[0]}' but {', '.join(columns[:6]) or 'nothing'}: get the table "
                    "that comes with the patches again."
                )
            found = [_slide(row, where=f"{path}, line {rows.line_num}") for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The table {path} cannot be read: {error}.") from error
    seen: set[str] = set()
    for slide in found:
        if slide.id in seen:
            raise InputError(f"{path} has the slide '{slide.id}' twice.")
        seen.add(slide.id)
    return found


def _slide(row: Mapping[str, str | None], *, where: str) -> Slide:
    id, subtype, caption = ((row.get(column) or "").strip() for column in _COLUMNS)
    if not id or not subtype or None in row:
        raise InputError(f"{where}: a row has an id, a subtype and a text, and this one has not: the table is damaged.")
    return Slide(id=id, subtype=subtype, caption=caption)


def split(slides: Sequence[Slide], listing: Sequence[str], *, share: float, seed: int) -> Split:
    """The published split: of each class in turn `int(n share)` slides are drawn for testing.

    Which slides depends on the table alone; the order of patches is that of the listing, which upstream takes as the
    file system gives it.

    Args:
        slides: Rows of the table.
        listing: Names of patches.
        share: Of the slides, for testing.
        seed: Of the draw.
    """
    by_class = [[slide.id for slide in slides if slide.label == place] for place in range(len(CLASSES))]
    random = Random(seed)  # noqa: S311  # as upstream draws; nothing is kept secret
    tested = {id for ids in by_class for id in random.sample(ids, int(len(ids) * share))}
    label_of = {id: place for place, ids in enumerate(by_class) for id in ids}
    patches = [(name, label_of[slide_of(name)]) for name in listing if slide_of(name) in label_of]
    return Split(
        train=[patch for patch in patches if slide_of(patch[0]) not in tested],
        test=[
            patch
            for place in range(len(CLASSES))
            for patch in patches
            if patch[1] == place and slide_of(patch[0]) in tested
        ],
    )


def few_shots(train: Sequence[tuple[str, int]], shots: int, *, seed: int) -> list[tuple[str, int]]:
    """The published few-shot list: all patches of the `shots` slides of each class that have the most, shuffled.

    Of slides with as many patches those come first whose patch is listed first.
    """
    counts: dict[tuple[int, str], int] = {}
    for name, place in train:
        key = (place, slide_of(name))
        counts[key] = counts.get(key, 0) + 1
    chosen: set[str] = set()
    for klass in range(len(CLASSES)):
        ranked = sorted((key for key in counts if key[0] == klass), key=lambda key: -counts[key])
        chosen |= {slide for _, slide in ranked[:shots]}
    found = [
        patch for klass in range(len(CLASSES)) for patch in train if patch[1] == klass and slide_of(patch[0]) in chosen
    ]
    Random(seed).shuffle(found)  # noqa: S311  # as upstream draws
    return found


def drawn_shots(train: Sequence[tuple[str, int]], shots: int, *, seed: int) -> list[tuple[str, int]]:
    """All patches of `shots` slides of each class that a seed draws, large or small, in their order."""
    random = Random(f"patchgastric/{seed}")  # noqa: S311  # nothing is kept secret
    chosen: set[str] = set()
    for klass in range(len(CLASSES)):
        slides = sorted({slide_of(name) for name, place in train if place == klass})
        random.shuffle(slides)
        chosen |= set(slides[:shots])
    return [patch for patch in train if slide_of(patch[0]) in chosen]


def lines_of(patches: Sequence[tuple[str, int]]) -> list[str]:
    """Lines of a list as the script writes them."""
    return [f"{name} {place}" for name, place in patches]


def read_list(path: Path) -> list[tuple[str, int]]:
    """The patches of a list that the script wrote, a name and the place of its class a line.

    Raises:
        InputError: It cannot be read, or a line is none of such a list.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list {path} cannot be read: {error}.") from error
    return [patch_of(line, where=f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def patch_of(line: str, *, where: str) -> tuple[str, int]:
    """The patch of a line. Raises `InputError`."""
    name, _, place = line.strip().rpartition(" ")
    if not name or place not in ("0", "1", "2"):
        raise InputError(f"{where}: '{line[:60]}' is not the name of a patch and a class from 0 to 2.")
    return name, int(place)

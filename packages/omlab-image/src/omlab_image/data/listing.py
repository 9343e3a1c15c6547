"""What a folder of pictures holds: images with their class, split and group, as rows that cost little.

root/benign/a.png, root/malignant/b.png               classes; the split is drawn
root/train/benign/a.png, root/test/malignant/b.png    classes and splits as they stand
root/a.png, root/more/b.png                           no classes: for self-supervision
root/a.png, ..., root/labels.csv                      image,class,group,split: what its columns say
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from omlab.errors import InputError, UsageError
from omlab.formats import format_cards
from omlab_data.files import some

TABLE = "labels.csv"
SPLITS = {
    **dict.fromkeys(("train", "training", "training_set", "trainning_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val_set", "validation_set"), "val"),
    **dict.fromkeys(("test", "testing", "test_set"), "test"),
}
"""Names of folders that are splits; USFM's README has one of them misspelt."""
_COLUMNS = ("image", "class", "classes", "group", "split")
_SEPARATOR = ";"
_LEFT_OUT = {"__MACOSX"}


@dataclass(frozen=True, slots=True)
class Row:
    """One image: its path below the root, with slashes; names of its classes (None: not known), group, split."""

    path: str
    classes: tuple[str, ...] | None
    group: str | None
    split: str | None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The images of a folder.

    Attributes:
        rows: In the order of their paths.
        classes: Names of all classes, in alphabetical order.
        is_multi_label: Whether an image may have several classes, or none.
        is_split: Whether the folder says the splits.
    """

    rows: Sequence[Row]
    classes: tuple[str, ...]
    is_multi_label: bool = False
    is_split: bool = False


def read_listing(root: Path, *, table: str, group: re.Pattern[str] | None) -> Listing:
    """List a folder.

    Args:
        root: The folder.
        table: The table, from `root` on; "": `labels.csv`, where it is there.
        group: Finds the patient in an image's path below `root`: its first group, else the whole match.

    Raises:
        UsageError: `root` is no folder, holds no image, or the table is not there.
        InputError: Images stand where no class is, or the table is wrong; names the line.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is no folder: imagefolder reads a folder of images.")
    path = root / (table or TABLE)
    if table and not path.is_file():
        raise UsageError(f"{path} does not exist, which the setting table names.")
    listing = _from_table(path) if path.is_file() else _from_folders(root)
    if group is None:
        return listing
    rows = [row if row.group is not None else _with_group(row, group, root=root) for row in listing.rows]
    return Listing(rows=rows, classes=listing.classes, is_multi_label=listing.is_multi_label, is_split=listing.is_split)


def image_suffixes() -> tuple[str, ...]:
    """Suffixes of the files that are read as images."""
    return tuple(sorted({suffix for card in format_cards() if "image" in card.reads for suffix in card.suffixes}))


def _from_folders(root: Path) -> Listing:
    found = list(_images(root))
    if not found:
        raise UsageError(f"{root} holds no image ({', '.join(image_suffixes())}).")
    parts = {path: PurePosixPath(path).parts for path in found}
    is_split = all(len(part) > 1 and part[0].lower() in SPLITS for part in parts.values())
    depth = 1 if is_split else 0
    lone = [path for path, part in parts.items() if len(part) == depth + 1]
    classes = sorted({part[depth] for part in parts.values() if len(part) > depth + 1})
    if lone and len(classes) > 1 and len(lone) < len(found):
        raise InputError(
            f"{root}: {some(lone)} stand beside the folders {some(classes)}: put every image into the folder of its "
            "class, or none."
        )
    is_labelled = len(classes) > 1 and not lone
    rows = [
        Row(
            path=path,
            classes=(part[depth],) if is_labelled else None,
            group=None,
            split=SPLITS[part[0].lower()] if is_split else None,
        )
        for path, part in parts.items()
    ]
    return Listing(rows=rows, classes=tuple(classes) if is_labelled else (), is_split=is_split)


def _images(root: Path) -> Iterator[str]:
    """Paths of the images below `root`, in order; hidden files and folders are left out."""
    suffixes, seen = image_suffixes(), set[str]()
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _LEFT_OUT)
        if (place := os.path.realpath(folder)) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(place)
        below = PurePosixPath(Path(folder).relative_to(root).as_posix())
        for name in sorted(files):
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield str(below / name)


def _from_table(path: Path) -> Listing:
    header, lines = _read_csv(path)
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for line, cells in lines:
        image = cells["image"].replace("\\", "/")
        if not image or image in seen:
            what = f"'{image}' stands in line {seen[image]} already" if image else "it names no image"
            raise InputError(f"{path}, line {line}: {what}.")
        split = cells.get("split", "")
        if "split" in header and not split:
            raise InputError(f"{path}, line {line}: '{image}' has no split.")
        seen[image] = line
        group, split = cells.get("group") or None, SPLITS.get(split.lower(), split)
        rows.append(Row(path=image, classes=_classes(cells), group=group, split=split or None))
    names = tuple(sorted({name for row in rows for name in row.classes or ()}))
    if not rows or ("class" in header and len(names) < 2):
        found = f"its column 'class' has {len(names)} classes; at least 2 are told apart" if rows else "it has no row"
        raise InputError(f"{path}: {found}.")
    return Listing(rows=rows, classes=names, is_multi_label="classes" in header, is_split="split" in header)


def _read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns, which must be known ones, and each row with its line."""
    lines: list[tuple[int, dict[str, str]]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            header = [name.strip() for name in next(reader, [])]
            _check_header(header, path=path)
            for cells in reader:
                if len(cells) > len(header):
                    raise InputError(f"{path}, line {reader.line_num}: it has more cells than the header.")
                if any(cells):
                    filled = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
                    lines.append((reader.line_num, dict(zip(header, filled, strict=True))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table (CSV, UTF-8): {error}.") from error
    return header, lines


def _check_header(header: Sequence[str], *, path: Path) -> None:
    unknown = next((name for name in header if name not in _COLUMNS or header.count(name) > 1), None)
    if "image" in header and unknown is None and not {"class", "classes"} <= set(header):
        return
    wrong = f"the column '{unknown}'" if unknown is not None else "no column 'image'"
    if unknown is None and "image" in header:
        wrong = "both columns 'class' and 'classes'"
    raise InputError(
        f"{path}, line 1: it has {wrong}; columns are {', '.join(_COLUMNS)}, each once. A table of other things is "
        "read by --data cases:PATH."
    )


def _classes(cells: Mapping[str, str]) -> tuple[str, ...] | None:
    if "classes" in cells:
        return tuple(name for part in cells["classes"].split(_SEPARATOR) if (name := part.strip()))
    return (cells["class"],) if cells.get("class") else None


def _with_group(row: Row, pattern: re.Pattern[str], *, root: Path) -> Row:
    match = pattern.search(row.path)
    if match is None:
        raise InputError(f"The image '{row.path}' of {root} does not fit the setting group, {pattern.pattern}.")
    group = match.group(1) if pattern.groups else match.group(0)
    return Row(path=row.path, classes=row.classes, group=group, split=row.split)


def ids_of(paths: Sequence[str]) -> list[str]:
    """An id for each path: its parts with hyphens, without the suffix where nothing else is called so.

    Raises `InputError` where two images would have the same one.
    """
    stems = ["-".join(PurePosixPath(path).with_suffix("").parts) for path in paths]
    twice = _doubles(stems)
    pairs = zip(paths, stems, strict=True)
    ids = ["-".join(PurePosixPath(path).parts) if stem in twice else stem for path, stem in pairs]
    doubled = _doubles(ids)
    if doubled:
        alike = [path for path, id in zip(paths, ids, strict=True) if id in doubled]
        raise InputError(f"The images {some(alike)} would have the same id: rename some of them.")
    return ids


def _doubles(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}

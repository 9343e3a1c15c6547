"""Finding the cases of a folder in nnU-Net's layout: a file a channel, or the Decathlon's one file with all channels.

imagesTr/liver_01_0000.nii.gz  imagesTr/liver_01_0001.nii.gz  labelsTr/liver_01.nii.gz
imagesTr/liver_01.nii.gz                                      labelsTr/liver_01.nii.gz      (Decathlon)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omlab.formats import format_cards, suffix_of
from omlab_volume.data.nnunet_json import Description

_CHANNEL = re.compile(r"^(.+)_(\d{4})$")


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of a case; `missing` are those that should be there."""

    images: tuple[Path, ...]
    label: Path | None
    missing: tuple[Path, ...] = ()


def find_cases(folder: Path, part: str, description: Description) -> dict[str, Files]:
    """The cases of a part, `Tr` or `Ts`, by id and ordered so; none where there is no folder of images.

    A label that is there without an image makes a case too, whose images are missing. Hidden files are passed over.
    """
    if part == "Tr" and description.listed:
        return {id: _listed(folder, *description.listed[id]) for id in sorted(description.listed)}
    images, labels = folder / f"images{part}", folder / f"labels{part}"
    stems, labelled = _stems(images, description.ending), _stems(labels, description.ending)
    if not stems:
        return {}
    has_labels = bool(labelled)
    ids = sorted({*_ids(stems, labelled), *labelled})
    one_file = _one_file(stems, labelled)
    found = {}
    for id in ids:
        names = [id] if one_file else [f"{id}_{number:04d}" for number in range(len(description.channels))]
        paths = tuple(images / f"{name}{description.ending}" for name in names)
        missing = [path for name, path in zip(names, paths, strict=True) if name not in stems]
        label = labels / f"{id}{description.ending}" if has_labels else None
        if label is not None and id not in labelled:
            missing.append(label)
        found[id] = Files(images=paths, label=label, missing=tuple(missing))
    return found


def stray_files(folder: Path, part: str, description: Description) -> list[Path]:
    """Images of channels that `dataset.json` does not name."""
    images = folder / f"images{part}"
    stems = _stems(images, description.ending)
    if _one_file(stems, _stems(folder / f"labels{part}", description.ending)):
        return []
    beyond = [stem for stem in sorted(stems) if _number(stem) >= len(description.channels)]
    return [images / f"{stem}{description.ending}" for stem in beyond]


def doubled(folder: Path, part: str, description: Description) -> list[Path]:
    """Images and labels that stand beside one of the same name, with another ending than that of `dataset.json`."""
    cards = [card for card in format_cards() if "labelmap" in card.reads or "volume" in card.reads]
    found = []
    for place in (folder / f"images{part}", folder / f"labels{part}"):
        stems = _stems(place, description.ending)
        paths = sorted(place.iterdir()) if stems else []
        suffixes = {path: suffix_of(path, cards) for path in paths if not path.name.endswith(description.ending)}
        found += [path for path, suffix in suffixes.items() if suffix and path.name[: -len(suffix)] in stems]
    return found


def has_part(cases: Mapping[str, Files]) -> bool:
    """Whether a part has cases with labels."""
    return any(files.label is not None for files in cases.values())


def _listed(folder: Path, images: tuple[str, ...], label: str) -> Files:
    paths, target = tuple(folder / image for image in images), folder / label
    return Files(images=paths, label=target, missing=tuple(path for path in (*paths, target) if not path.is_file()))


def _stems(folder: Path, ending: str) -> set[str]:
    if not folder.is_dir():
        return set()
    names = (path.name for path in folder.iterdir() if not path.name.startswith("."))
    return {name.removesuffix(ending) for name in names if name.endswith(ending)}


def _one_file(stems: set[str], labelled: set[str]) -> bool:
    """Whether an image file is a whole case: it is called like its label, or not numbered."""
    return bool(stems & labelled) or (not labelled and not all(_CHANNEL.match(stem) for stem in stems))


def _ids(stems: set[str], labelled: set[str]) -> set[str]:
    if _one_file(stems, labelled):
        return stems
    return {match.group(1) if (match := _CHANNEL.match(stem)) else stem for stem in stems}


def _number(stem: str) -> int:
    match = _CHANNEL.match(stem)
    return int(match.group(2)) if match else 0

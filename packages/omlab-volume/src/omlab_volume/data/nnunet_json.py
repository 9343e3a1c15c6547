"""What `dataset.json` says of a folder in nnU-Net's layout, in the forms of version 1 and the Decathlon, and version 2.

    version 1    "modality": {"0": "CT"},        "labels": {"0": "background", "1": "liver"}
    version 2    "channel_names": {"0": "CT"},   "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"

Source: nnU-Net's documentation/dataset_format.md, region_based_training.md and ignore_label.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omlab.errors import InputError, UsageError
from omlab_volume.labels import HIGHEST_LABEL

NAME = "dataset.json"
IGNORE = "ignore"
BACKGROUND = 0


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is known of a data set without reading its cases.

    Attributes:
        channels: Their names in the order of their numbers.
        classes: Names of the values in label files, but for the background and what is ignored.
        regions: Where classes overlap: all of them, as names with the values that they are unions of.
        ignored: Values that count as not annotated.
        ending: What the names of image files end in.
        listed: Where version 2 lists the files: images and label of each case, relative to the folder.
        training: How many training cases there should be; None: not said.
    """

    channels: tuple[str, ...]
    classes: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ignored: tuple[int, ...] = ()
    ending: str = ".nii.gz"
    listed: Mapping[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    training: int | None = None


def read_description(folder: Path) -> Description:
    """Read `dataset.json` of a folder.

    Raises:
        UsageError: The folder has none.
        InputError: It is damaged, or says something that cannot be; names the file and the entry.
    """
    path = folder / NAME
    if not path.is_file():
        below = sorted(child.parent for child in folder.glob(f"*/{NAME}")) if folder.is_dir() else []
        hint = f"it holds data sets such as {below[0]}, name one of them" if below else "is it in nnU-Net's layout?"
        raise UsageError(f"{folder} has no {NAME}: {hint}")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} is not a JSON object.")
    return _Reader(path, found).description()


class _Reader:
    def __init__(self, path: Path, found: Mapping[str, Any]) -> None:
        self.path = path
        self.found = found

    def description(self) -> Description:
        values = self._labels()
        ignored = values.pop(IGNORE, ())
        if any(len(several) > 1 for several in values.values()):
            regions = {name: several for name, several in values.items() if several != (BACKGROUND,)}
            classes = {value: f"label {value}" for several in regions.values() for value in several}
            classes |= {several[0]: name for name, several in regions.items() if len(several) == 1}
        else:
            regions = {}
            classes = {several[0]: name for name, several in values.items()}
            if len(classes) < len(values):
                raise self._wrong("labels", "several names have the same value")
        classes.pop(BACKGROUND, None)
        if not classes:
            raise self._wrong("labels", "there is no label beside the background")
        return Description(
            channels=self._channels(),
            classes={value: classes[value] for value in sorted(classes)},
            regions=regions,
            ignored=ignored,
            ending=self._ending(),
            listed=self._listed(),
            training=self._training(),
        )

    def _wrong(self, entry: str, what: str) -> InputError:
        return InputError(f"{self.path}, '{entry}': {what}.")

    def _table(self, entry: str) -> Mapping[str, Any]:
        table = self.found[entry]
        if not isinstance(table, dict) or not table:
            raise self._wrong(entry, "names and numbers are needed, such as {'0': 'CT'}")
        return table

    def _channels(self) -> tuple[str, ...]:
        entry = next((entry for entry in ("channel_names", "modality") if entry in self.found), None)
        if entry is None:
            raise self._wrong("channel_names", "it is missing, as is 'modality' of version 1")
        table = self._table(entry)
        if set(table) != {str(number) for number in range(len(table))}:
            raise self._wrong(entry, f"the channels are numbered {', '.join(table)}, not 0, 1, ...")
        return tuple(str(table[str(number)]) for number in range(len(table)))

    def _labels(self) -> dict[str, tuple[int, ...]]:
        """The values of each name, whichever of the two is the key."""
        if "labels" not in self.found:
            raise self._wrong("labels", "it is missing")
        table = self._table("labels")
        if all(key.isdecimal() for key in table) and all(isinstance(name, str) for name in table.values()):
            names = [str(name) for name in table.values()]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise self._wrong("labels", f"'{twice[0]}' is there twice")
            return {name: (self._value(int(value)),) for value, name in table.items()}
        return {
            name: tuple(self._value(one) for one in (value if isinstance(value, list) and value else [value]))
            for name, value in table.items()
        }

    def _value(self, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= HIGHEST_LABEL:
            raise self._wrong("labels", f"{value!r} is no value of a label, a whole number from 0 to {HIGHEST_LABEL}")
        return value

    def _ending(self) -> str:
        ending = self.found.get("file_ending", ".nii.gz")
        if not isinstance(ending, str) or not ending.startswith("."):
            raise self._wrong("file_ending", f"{ending!r} is no ending such as .nii.gz")
        return ending

    def _training(self) -> int | None:
        count = self.found.get("numTraining")
        return count if isinstance(count, int) else None

    def _listed(self) -> dict[str, tuple[tuple[str, ...], str]]:
        table = self.found.get("dataset", {})
        try:
            return {
                str(id): (tuple(str(image) for image in entry["images"]), str(entry["label"]))
                for id, entry in table.items()
            }
        except (AttributeError, KeyError, TypeError):
            raise self._wrong("dataset", "each case has 'images', a list, and a 'label'") from None

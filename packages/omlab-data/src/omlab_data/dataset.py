"""The data set `cases`: a user's own cases in a table.

    id,image,target,group,split
    a,scans/a.nii.gz,labels/a.nii.gz,patient 1,train

`read_table` says what a table may hold. It is read once, when it is first asked for something.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from omlab import About
from omlab.card_schema import DatasetCard
from omlab.datasets import check_split
from omlab.errors import InputError
from omlab.roles import Case
from omlab_data.cases import TableCases, whole_case
from omlab_data.columns import GROUP, ID
from omlab_data.files import missing_files, size_of
from omlab_data.splits import Shares
from omlab_data.table import Table, read_table
from omlab_data.tasks import task_of
from omlab_data.verify import Findings, look_through, some_cases


def open_cases(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> CasesDataset:
    """Entry of the card; `root` is the table."""
    shares = Shares(**{name: settings[name] for name in ("test", "val", "folds", "fold", "seed")})
    return CasesDataset(
        root, shares=shares, classes=[str(name) for name in settings["classes"]], meta=[*map(str, settings["meta"])]
    )


class CasesDataset:
    """A data set in a table (`omlab.roles.Dataset`)."""

    def __init__(self, path: Path, *, shares: Shares, classes: Sequence[str] = (), meta: Sequence[str] = ()) -> None:
        self.path = Path(path)
        self._shares = shares
        self._classes = list(classes)
        self._meta = list(meta)
        self._digests: dict[str, str] = {}
        self._places: dict[str, array[int]] = {}
        self._findings: Findings | None = None

    @cached_property
    def table(self) -> Table:
        """The table. Raises `InputError` where it cannot be understood."""
        return read_table(self.path, shares=self._shares, classes=self._classes, meta=self._meta)

    def splits(self) -> Sequence[str]:
        """As the table has them, else of `train`, `val` and `test` those that are not empty."""
        return list(self.table.splits)

    def prepare(self) -> None:
        """Nothing is made. Raises `InputError` where an id is there twice, or a group lies in several splits."""
        wrong = self.table.doubles or self.table.torn
        if wrong:
            raise InputError(wrong)

    def about(self, split: str) -> About:
        """Kinds, task, classes and numbers, from the table alone."""
        table, indices = self.table, self._indices(split)
        target = table.target.kind if table.target is not None else ""
        return About(
            inputs={column.name: column.kind for column in table.inputs},
            target=target,
            task=task_of(target),
            classes=self._class_names(),
            channels={
                name: [str(n) for n in range(1, count + 1)] for name, count in table.channels.items() if count > 1
            },
            groups=len({table.groups[index] for index in indices}) if table.has_groups else None,
            cases=len(indices),
        )

    def digest(self, split: str) -> str:
        """Of the split's rows and the sizes of its files. Raises `InputError` where files are missing."""
        if split not in self._digests:
            self._digests[split] = self._digest(split)
        return self._digests[split]

    def cases(self, split: str) -> Sequence[Case]:
        """The cases in the order of the table."""
        self.prepare()
        return TableCases(self.table, self._indices(split))

    def verify(self) -> Sequence[str]:
        """What is wrong with the table and its files, read through."""
        return [*filter(None, [self.table.doubles]), *self.findings().problems]

    def findings(self) -> Findings:
        """What reading everything found; done once."""
        if self._findings is None:
            self._findings = look_through(self._parts(), classes=self.table.names)
        return self._findings

    def some_cases(self) -> Sequence[tuple[str, Case]]:
        """A few cases with their splits."""
        return some_cases(self._parts())

    def report(self, folder: Path) -> Sequence[Path]:
        """A page about the data, with pictures of a few cases."""
        from omlab_data.report import write_report

        return write_report(self, folder, title=self.path.name)

    def _parts(self) -> dict[str, TableCases]:
        return {split: TableCases(self.table, self._indices(split)) for split in self.splits()}

    def _indices(self, split: str) -> Sequence[int]:
        splits = self.table.splits
        check_split(split, splits, of=str(self.path))
        if split not in self._places:
            place = splits.index(split)
            self._places[split] = array("L", (index for index, side in enumerate(self.table.side) if side == place))
        return self._places[split]

    def _class_names(self) -> dict[int, str]:
        if self.table.classes:
            return dict(enumerate(self.table.classes))
        return dict(self.table.names or (self._findings.names if self._findings is not None else {}))

    def _digest(self, split: str) -> str:
        digest = hashlib.sha256()
        columns = [column.header for column in self.table.inputs]
        columns += [ID, GROUP, *([self.table.target.header] if self.table.target is not None else [])]
        missing = []
        for _, row in self.table.rows_at(self._indices(split)):
            sizes: list[int | None] = []
            for paths in whole_case(self.table, row).files.values():
                found = [size_of(path) for path in paths]
                missing += [path for path, size in zip(paths, found, strict=True) if size is None]
                sizes += found
            digest.update(json.dumps([[row.cells.get(name) for name in columns], sizes]).encode())
        if missing:
            raise InputError(f"{self.path}: {missing_files(missing)}")
        return digest.hexdigest()

"""Cases of a table: light while they wait in their thousands, whole when they are read or sent to another process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from omlab import Sample
from omlab.cases import PathCase, Source
from omlab.payloads import Named
from omlab_data.columns import CLASSES, class_name, is_empty
from omlab_data.rows import Row
from omlab_data.table import Table, group_of, id_of


@dataclass(frozen=True, kw_only=True)
class WholeCase(PathCase):
    """A case with all that its row says.

    Attributes:
        label: Its class, where targets are class names.
        value_names: Names of the values of its target, where the user gave them.
    """

    label: str | None = None
    value_names: Mapping[int, str] = field(default_factory=dict)

    def load(self) -> Sample:
        """Read it."""
        sample = super().load()
        if self.value_names and isinstance(sample.target, Named):
            return replace(sample, target=sample.target.named(self.value_names))
        return sample


def whole_case(table: Table, row: Row) -> WholeCase:
    """The case of a row."""
    cells, folder, target = row.cells, table.path.parent, table.target
    id = id_of(cells)
    sources = {column.name: column.source(cells, folder=folder, id=id) for column in table.inputs}
    cell = None if target is None else cells.get(target.header)
    is_class = (
        target is not None and target.is_value and target.kind == CLASSES and not target.several and not is_empty(cell)
    )
    return WholeCase(
        id=id,
        sources={name: source for name, source in sources.items() if source is not None},
        target=None if target is None else target.source(cells, folder=folder, id=id, classes=table.classes),
        group=group_of(cells),
        meta={name: cells.get(name) for name in table.meta},
        label=class_name(cell) if is_class else None,
        value_names=table.names,
    )


@dataclass(frozen=True, slots=True)
class TableCase:
    """A case that knows its row, which is read when something of it is asked for."""

    table: Table
    index: int
    id: str

    def whole(self) -> WholeCase:
        """With all that the row says. Raises `InputError` where the table was changed meanwhile."""
        return whole_case(self.table, self.table.row(self.index))

    @property
    def group(self) -> str | None:
        """The patient, where the table says it."""
        return self.whole().group if self.table.has_groups else None

    @property
    def label(self) -> str | None:
        """The class, where targets are class names."""
        return self.whole().label if self.table.classes else None

    @property
    def sources(self) -> Mapping[str, Source]:
        """Where the inputs come from."""
        return self.whole().sources

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """The files of each input, and of the target."""
        return self.whole().files

    @property
    def target(self) -> Source | None:
        """Where the target comes from."""
        return self.whole().target

    def load(self) -> Sample:
        """Read it."""
        return self.whole().load()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_same, (self.whole(),))


def _same(case: WholeCase) -> WholeCase:
    return case


@dataclass(frozen=True)
class TableCases(Sequence[TableCase]):
    """Cases of a table by the indices of their rows, which grow."""

    table: Table
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, place: int) -> TableCase: ...
    @overload
    def __getitem__(self, place: slice) -> TableCases: ...
    def __getitem__(self, place: int | slice) -> TableCase | TableCases:
        if isinstance(place, slice):
            return TableCases(self.table, sorted(self.indices[place]))
        index = self.indices[place]
        return TableCase(self.table, index, id_of(self.table.row(index).cells))

    def __iter__(self) -> Iterator[TableCase]:
        for index, row in self.table.rows_at(self.indices):
            yield TableCase(self.table, index, id_of(row.cells))

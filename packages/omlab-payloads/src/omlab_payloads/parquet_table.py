"""Parquet: the table of `csv` with its columns typed, for many cases; needs pyarrow (the extra `parquet`)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, NamedTuple

from omlab.errors import InputError, MissingDependencyError, UsageError
from omlab.payloads import Inputs, Payload
from omlab_payloads.columns import ID, TEXTS, numeric, payload_of
from omlab_payloads.kinds import stem
from omlab_payloads.lines import Stamp, place_of, stamp_of
from omlab_payloads.table import packed, spooled

GROUP = 4096
"""Rows that are written, and read, at once."""


class ParquetTable:
    """The format `parquet`."""

    def index(self, path: Path) -> Sequence[str]:
        """The ids in the file's order. Raises `InputError`, or `MissingDependencyError` without pyarrow."""
        return tuple(_index(stamp_of(path)).rows)

    def read(self, path: Path, *, kind: str, key: str | None = None) -> Payload:
        """The payload with the id `key`, or the only one; raises as `index` does."""
        stamp = stamp_of(path)
        index = _index(stamp)
        row = place_of(path, key, index.rows)
        group = bisect_right(index.ends, row)
        cells = _group(stamp, group)[row - (index.ends[group - 1] if group else 0)]
        where = f"{path}, entry '{key}'" if key is not None else str(path)
        wanted = numeric(cells, kind=kind)
        text = next((name for name in wanted if not isinstance(cells[name], float | int | None)), None)
        if text is not None:
            raise InputError(f"{where} has a {type(cells[text]).__name__} in the column '{text}', not a number.")
        try:
            return payload_of({name: cells[name] for name in cells if name in wanted}, kind=kind)
        except UsageError as error:
            raise InputError(f"{where} cannot be used: {error}") from None

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """A table of one row, whose id is the file's name."""
        self.collect([(stem(path), self.pack(payload))], path)

    def pack(self, payload: Payload) -> bytes:
        """The record of one case."""
        return packed(payload)

    def collect(self, records: Iterable[tuple[str, bytes]], path: Path) -> None:
        """Write a row for each record, in their order, some thousands at once."""
        pa, pq = _pyarrow()
        with spooled(records, beside=path) as table:
            types = [(name, pa.string() if name in TEXTS else pa.float64()) for name in table.columns]
            with pq.ParquetWriter(path, pa.schema(types)) as writer:
                while rows := list(islice(table.rows, GROUP)):
                    writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))


class _Index(NamedTuple):
    rows: Mapping[str, int]
    """The number of each row by id."""
    ends: Sequence[int]
    """The number of rows up to and with each group."""


@lru_cache(maxsize=8)
def _index(stamp: Stamp) -> _Index:
    with _opened(stamp.path) as file:
        if ID not in file.schema_arrow.names:
            raise InputError(f"{stamp.path} has no column '{ID}'; it has {', '.join(file.schema_arrow.names[:5])}.")
        ids = file.read(columns=[ID]).column(ID).to_pylist()
        ends = list(accumulate(file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)))
    rows: dict[str, int] = {}
    for number, id in enumerate(ids):
        if not isinstance(id, str) or id in rows:
            raise InputError(f"{stamp.path} has {'two entries with' if id in rows else 'an entry with'} the id '{id}'.")
        rows[id] = number
    return _Index(rows, ends)


@lru_cache(maxsize=4)
def _group(stamp: Stamp, group: int) -> list[dict[str, Any]]:
    with _opened(stamp.path) as file:
        rows: list[dict[str, Any]] = file.read_row_group(group).to_pylist()
    return rows


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    pa, pq = _pyarrow()
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError):
        raise InputError(f"{path} is no Parquet file, or is damaged.") from None


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError:
        raise MissingDependencyError("Parquet needs pyarrow: pip install 'omlab-payloads[parquet]'.") from None
    return pyarrow, pyarrow.parquet

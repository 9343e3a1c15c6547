"""Supports as tables: a CSV with a row a scan, `volume,labelmap`, paths relative to the table."""

from __future__ import annotations

import csv
from pathlib import Path

from omlab.errors import InputError
from omlab_medlsam.supports import FileScan, Support

COLUMNS = ("volume", "labelmap")


class SupportTable:
    """The format `support-csv`."""

    def read(self, path: Path, *, kind: str) -> Support:
        """The support of a table; its scans are looked for, but not read. Raises `InputError` that names the file."""
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream, strict=True)
                columns = [name.strip() for name in reader.fieldnames or ()]
                if sorted(columns) != sorted(COLUMNS):
                    found = ", ".join(columns)[:80] or "none"
                    raise InputError(
                        f"{path} is no table of support scans: its columns are {found}, not volume,labelmap."
                    )
                reader.fieldnames = columns
                scans = [_scan(row, table=path, line=reader.line_num) for row in reader]
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
        except (csv.Error, UnicodeDecodeError):
            raise InputError(f"{path} is no table of comma-separated values.") from None
        if not scans:
            raise InputError(f"{path} lists no support scan: add a row for each, three to ten do well.")
        return Support(scans=tuple(scans))


def _scan(row: dict[str, str | None], *, table: Path, line: int) -> FileScan:
    places = []
    for name in COLUMNS:
        cell = (row.get(name) or "").strip()
        if not cell or None in row:
            raise InputError(f"{table}, line {line}: a row has a volume and a labelmap, one path each.")
        place = table.parent / cell
        if not place.exists():
            raise InputError(f"{table}, line {line}: the {name} {place} does not exist.")
        places.append(place)
    return FileScan(image=places[0], labels=places[1])

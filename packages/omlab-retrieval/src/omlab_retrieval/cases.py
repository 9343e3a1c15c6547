"""What pages and tables show of cases: the file and a small picture, looked up once each."""

from __future__ import annotations

from collections.abc import Iterable

from omlab_report import Picture
from omlab_retrieval.store import Records, records_of
from omlab_retrieval.thumbnails import files_of, thumbnail_of


class Shown:
    """Cases of one log.

    Args:
        records: The log.
        ids: The cases that will be asked for.
    """

    def __init__(self, records: Records, ids: Iterable[str]) -> None:
        self._records = records_of(records, dict.fromkeys(ids))
        self._pictures: dict[str, bytes | None] = {}

    def file(self, id: str) -> str:
        """The path of its first file; "" where there is none."""
        return next((str(path) for path in files_of(self._records.get(id))), "")

    def digests(self, id: str) -> set[str]:
        """sha256 of its files."""
        record = self._records.get(id)
        rows = [] if record is None else [row for part in record.inputs.values() for row in part]
        return {row["sha256"] for row in rows if "path" in row and row.get("sha256")}

    def picture(self, id: str, caption: str) -> Picture:
        """A small picture, or the place of one with the name of the file."""
        if id not in self._pictures:
            self._pictures[id] = thumbnail_of(self._records.get(id))
        content = self._pictures[id]
        name = self.file(id).replace("\\", "/").rpartition("/")[2] or id
        return Picture(content, alt=name, caption=caption)


def is_drawn(pictures: Iterable[Picture]) -> bool:
    """Whether there is anything to be seen."""
    return any(picture.content is not None for picture in pictures)

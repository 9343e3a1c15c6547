"""What a result is written as: the main output, others beside it, a picture; only the main one can fail its case."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from omlab.card_schema import FormatCard
from omlab.digests import digest_of
from omlab.engine import Item, Roles
from omlab.errors import OmlabError, OmlabWarning, OutputError
from omlab.files import remove, replacing, write_json, writing
from omlab.formats import (
    companions,
    default_format,
    format_cards,
    implementation,
    overlay_format,
    read,
    read_format,
    suffix_of,
    write_as,
)
from omlab.payloads import Compound, Inputs, Payload, Pictured, Telling, Told, an, keeps
from omlab.records import Role
from omlab.registry import registry
from omlab.roles import Collects, Sample
from omlab.runs import Run

PICTURE = ".png"
IN_WORDS = "in_words"
"""What the log has of a result that can be said in a line."""


def file_name(id: str) -> str:
    """A case's id as a file name; one that is no plain name gets a digest, so that two never meet."""
    plain = re.sub(r"[^\w.+=@ ()-]", "_", id).lstrip(".")[:120]
    return plain if plain == id else f"{plain}-{hashlib.sha256(id.encode()).hexdigest()[:8]}"


@dataclass(kw_only=True)
class Outputs:
    """Writes the results of a run; what they tell of themselves goes into the log and, of single files, beside them.

    Attributes:
        run: The run.
        format: Of the main output; None: the default of each part of a compound result.
        suffix: Of the main output.
        pictures: Where the picture of each case goes, by id.
    """

    run: Run
    format: FormatCard | None
    suffix: str = ""
    pictures: Mapping[str, Path] = field(default_factory=dict)
    _records: IO[bytes] | None = None

    def write(self, item: Item, sample: Sample, result: Payload, folder: Path) -> Roles:
        """Write one result into the case's folder; a collected one is added to the run's records."""
        if keeps(result, Told):
            item.record.values[IN_WORDS] = result.in_words()
        if self.format is not None and result.kind in self.format.collects:
            self._collect(item, self.format, result)
            roles: dict[str, Role] = {}
        else:
            roles = dict(self._main(item, result, sample.inputs, folder))
            roles |= self._beside(item, result, sample.inputs, folder)
            roles |= _told(item, result, folder)
        self._picture(item.record.id, result, sample, folder=folder, roles=roles)
        return roles

    def close(self) -> None:
        """Let go of the records' file. Each record was flushed: what a full disk refused then is refused again."""
        if self._records is not None:
            with suppress(OSError):
                self._records.close()
            self._records = None

    def _main(self, item: Item, result: Payload, inputs: Inputs, folder: Path) -> Iterator[tuple[str, Role]]:
        for part, value in parts_of(result):
            card, suffix = self.format, self.suffix
            if card is None or value.kind not in card.writes:
                card = default_format(value.kind)
                suffix = max(card.suffixes, key=len)
            name = f"{file_name(item.record.id)}{'.' if part else ''}{part}{suffix}"
            if card.resumes:
                self._resume(card, value, folder / name, item, inputs)
            else:
                write_as(card, value, folder / name, inputs=inputs)
            yield name, Role("main", card.name, value.kind)

    def _resume(self, card: FormatCard, value: Payload, path: Path, item: Item, inputs: Inputs) -> None:
        """Write in the run's scratch, where the next start finds what this one leaves; whole, it gets its name.

        What is there of other inputs is under another name.
        """
        begun = self.run.scratch / digest_of([item.record.id, item.record.inputs])[:16] / path.name
        begun.parent.mkdir(exist_ok=True)
        write_as(card, value, begun, inputs=inputs)
        begun.replace(path)

    def _beside(self, item: Item, result: Payload, inputs: Inputs, folder: Path) -> Iterable[tuple[str, Role]]:
        found = []
        for part, value in parts_of(result):
            for card in _companions(item, value.kind):
                name = f"{file_name(item.record.id)}{'.' if part else ''}{part}{card.suffixes[0]}"
                try:
                    write_as(card, value, folder / name, inputs=inputs)
                except Exception as error:  # what stands beside the main output must not take it away
                    remove(folder / name)
                    why = error if isinstance(error, OmlabError) else f"{type(error).__name__}: {error}"
                    warnings.warn(f"{name} was not written as {card.name}: {why}", OmlabWarning, stacklevel=2)
                else:
                    found.append((name, Role("beside", card.name, value.kind)))
        return found

    def _picture(self, id: str, result: Payload, sample: Sample, *, folder: Path, roles: Roles) -> None:
        place = self.pictures.get(id)
        if place is None:
            return
        try:
            # what was computed while it was written is not computed again: it is read
            lazy = {card.name for card in format_cards() if card.resumes}
            read_again = {role.kind: folder / name for name, role in roles.items() if role.format in lazy}
            parts = [part for _, part in parts_of(result)]
            shown = [read(read_again[part.kind], kind=part.kind) if part.kind in read_again else part for part in parts]
            draw(shown, sample, place, kind=result.kind)
        except Exception as error:  # likewise: a picture is for looking at
            why = error if isinstance(error, OmlabError) else f"{type(error).__name__}: {error}"
            warnings.warn(f"The picture {place} was not drawn: {why}", OmlabWarning, stacklevel=2)

    def _collect(self, item: Item, card: FormatCard, result: Payload) -> None:
        """Append a record; its line in the log says where it is, so that a torn end is never read."""
        packed = cast(Collects, implementation(card)).pack(result)
        with writing("The results", self.run.final):
            if self._records is None:
                self._records = (self.run.folder / f"records{self.run.shard.name}.bin").open("ab")
            offset = self._records.seek(0, 2)
            self._records.write(packed)
            self._records.flush()
        place = [f"records{self.run.shard.name}.bin", offset, len(packed)]
        item.record.outputs.append({"role": "main", "format": card.name, "record": place})


def _told(item: Item, result: Payload, folder: Path) -> Roles:
    """Keep what a result tells of itself as the values of its case, and as JSON beside it."""
    facts = dict(result.tells()) if keeps(result, Telling) else {}
    if not facts:
        return {}
    item.record.values |= facts
    name = f"{file_name(item.record.id)}.json"
    write_json(folder / name, facts)
    return {name: Role("beside", "json", result.kind)}


def parts_of(result: Payload) -> Sequence[tuple[str, Payload]]:
    """The parts of a compound result by name, or the result itself without one."""
    return list(result.parts().items()) if keeps(result, Compound) else [("", result)]


def draw(parts: Sequence[Payload], sample: Sample, place: Path, *, kind: str) -> None:
    """Draw a result over its input into a PNG: the first of its parts that has a picture, the others marked in it.

    A place with the suffix of a format that draws such results itself is written by that one. Raises `OutputError`
    where no part has a picture or it cannot be written.
    """
    card = overlay_format(place, kind)
    if card is not None:
        with writing("The picture", place), replacing(place) as temporary:
            write_as(card, parts[0], temporary, inputs=sample.inputs)
        return
    at, found = next(((n, part) for n, part in enumerate(parts) if keeps(part, Pictured)), (0, None))
    if found is None:
        raise OutputError(f"{an(kind)} has no picture.")
    others = {f"part {number}": part for number, part in enumerate(parts) if number != at}
    picture = found.overlay({**sample.inputs, **others}, target=None)
    with writing("The picture", place), replacing(place) as temporary:
        temporary.write_bytes(picture)


def collect(run: Run, card: FormatCard, name: str) -> None:
    """Stream the records of all cases that are done, ordered by id, into one file of the run."""
    with writing("The results", run.final), replacing(run.folder / name) as temporary:
        cast(Collects, implementation(card)).collect(_packed(run, card), temporary)
    run.collected = {"path": name, "format": card.name}


def _packed(run: Run, card: FormatCard) -> Iterator[tuple[str, bytes]]:
    streams: dict[str, IO[bytes]] = {}
    try:
        for record in run.log:
            places = [row["record"] for row in record.outputs if "record" in row and row.get("format") == card.name]
            for name, offset, length in places if record.status == "done" else []:
                if name not in streams:
                    streams[name] = (run.folder / name).open("rb")
                streams[name].seek(offset)
                yield record.id, streams[name].read(length)
    finally:
        for stream in streams.values():
            stream.close()


def collects(run: Run) -> tuple[FormatCard, str] | None:
    """The format and name of what a run's cases are collected into, as its log says; None where they are not."""
    found: dict[str, Any] | None = run.arguments.get("collected")
    if not found:
        return None
    card = next(card for card in format_cards() if card.name == found["format"])
    return card, found["path"]


def _companions(item: Item, kind: str) -> list[FormatCard]:
    """Formats in which a result also goes, by those that its inputs were read from."""
    found: dict[str, FormatCard] = {}
    for source in getattr(item.case, "sources", {}).values():
        if source.paths:
            card = read_format(source.paths[0], source.kind)
            found |= {other.name: other for other in companions(card, kind)}
    return list(found.values())


def file_writers(kind: str) -> list[FormatCard]:
    """The formats of one file for a result: those that write the kind, or of a compound one its first part."""
    written = kind
    for offer in registry().cards("payload"):
        if offer.name == kind:
            written = str(offer.data.get("first") or kind)
    return [card for card in format_cards() if written in card.writes]


def main_format(kind: str, *, output: Path | None, named: FormatCard | None) -> tuple[FormatCard | None, str]:
    """Format and suffix of the main output: as named, by the output file's suffix, or the kind's default.

    Of a compound kind the file is that of its first part.
    """
    if named is not None:
        suffix = suffix_of(output, [named]) if output is not None else ""
        return named, suffix or max(named.suffixes, key=len)
    writers = [card for card in format_cards() if kind in card.writes]
    able = file_writers(kind)
    if output is not None and (suffix := suffix_of(output, able)):
        return next(card for card in able if suffix in card.suffixes), suffix
    if not writers:
        return None, ""
    card = default_format(kind)
    return card, max(card.suffixes, key=len)

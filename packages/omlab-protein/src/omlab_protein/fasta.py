"""FASTA: a line `>id description`, then residues; one or many sequences in a file, which may be packed with gzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Keys
from functools import lru_cache
from pathlib import Path

from omlab.errors import InputError
from omlab.payloads import Inputs, Payload
from omlab_payloads.lines import Stamp, place_of, stamp_of
from omlab_protein.sequence import Sequence

WIDTH = 60
"""Residues of a written line."""
_GZIP = b"\x1f\x8b"


class Fasta:
    """The format `fasta`."""

    def index(self, path: Path) -> Keys[str]:
        """The ids in the file's order. Raises `InputError` for a file that is no FASTA, or an id twice."""
        return tuple(_entries(stamp_of(path)))

    def read(self, path: Path, *, kind: str, key: str | None = None) -> Sequence:
        """The sequence with the id `key`, or the only one. Raises `InputError` that names the file."""
        entries = _entries(stamp_of(path))
        known = {name: number for number, name in enumerate(entries)}
        name = list(entries)[place_of(path, key, known)]
        try:
            return Sequence(letters=entries[name], name=name)
        except InputError as error:
            raise InputError(f"{path} cannot be used: {error}") from None

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """One sequence, in lines of `WIDTH` residues."""
        assert isinstance(payload, Sequence)
        text = fasta_text(payload.name or "sequence", payload.letters)
        packed = gzip.compress(text.encode(), mtime=0) if path.name.endswith(".gz") else text.encode()
        path.write_bytes(packed)


def fasta_text(name: str, letters: str) -> str:
    """An entry, in lines of `WIDTH` residues."""
    rows = [letters[start : start + WIDTH] for start in range(0, len(letters), WIDTH)]
    return "\n".join([f">{name}", *rows]) + "\n"


def titled(path: Path) -> Iterator[tuple[str, str]]:
    """Each entry's line after `>`, and its letters as they stand. Raises `InputError` for a file that is no FASTA."""
    title: str | None = None
    rows: list[str] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.startswith(">"):
            if title is not None:
                yield title, "".join(rows)
            title, rows = line[1:].strip(), []
            if not title:
                raise InputError(f"{path}, line {number} has no id after '>'.")
        elif line.strip() and not line.startswith((";", "#")):
            if title is None:
                raise InputError(f"{path} is no FASTA file: it does not begin with '>'.")
            rows.append(line.strip())
    if title is None:
        raise InputError(f"{path} holds no sequence.")
    yield title, "".join(rows)


@lru_cache(maxsize=4)
def _entries(stamp: Stamp) -> Mapping[str, str]:
    entries: dict[str, str] = {}
    for title, letters in titled(stamp.path):
        name = title.split(maxsplit=1)[0]
        if name in entries:
            raise InputError(f"{stamp.path} has two sequences with the id '{name}'.")
        entries[name] = letters
    return entries


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no FASTA file: it is not text.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path} is damaged or not whole: it cannot be unpacked.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None

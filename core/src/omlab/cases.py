"""Cases made of paths: what a user names on the command line, and what tables of own data list."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omlab.card_schema import FormatCard, PayloadCard, validate
from omlab.errors import InputError, OmlabNote, UsageError
from omlab.formats import check_readable, format_cards, implementation, is_read, read_as, read_format, suffix_of
from omlab.payloads import Payload, Stackable, an, keeps
from omlab.registry import load_entry, registry
from omlab.roles import Sample
from omlab.run_folder import LOG, read_log_file

_ABOVE = 3
"""How many folders above may be part of a name."""
_A_LOOK = 1024
"""Bytes of a file of which one is 0 unless it is a text."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where one input of a case comes from: a file or folder, several (channels), an entry of a file, or a value.

    Attributes:
        kind: Of the payload.
        paths: The files; none where `value` holds the input itself.
        key: Of the entry, where the file has many.
        value: JSON or text, of which the payload's class makes one (`from_value`).
        settings: Of the format.
        own: Of the format too, in place of those: what the list of cases says for this one alone.
    """

    kind: str
    paths: tuple[Path, ...] = ()
    key: str | None = None
    value: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> Payload:
        """The payload. Raises `InputError` that names the file."""
        if not self.paths:
            return payload_of(self.value, kind=self.kind)
        settings = {**self.settings, **self.own}
        found = [
            read_as(read_format(path, self.kind), path, kind=self.kind, settings=settings, key=self.key)
            for path in self.paths
        ]
        if len(found) == 1:
            return found[0]
        if not keeps(found[0], Stackable):
            raise InputError(
                f"{self.paths[0]} and {self.paths[1]} cannot be one input: {an(self.kind)} has no channels."
            )
        stacked: Payload = found[0].stack(found)
        return stacked


@dataclass(frozen=True, kw_only=True, slots=True)
class Called:
    """What a case may be called: `stem` is its file's name, `below` the path that the user gave, `key` its entry's."""

    stem: str
    path: Path
    below: Path
    key: str | None = None

    @property
    def shortest(self) -> str:
        """The key; the file's name, below a given folder with the folders between."""
        if self.key is not None:
            return self.key
        folders = () if self.below == self.path else self.path.relative_to(self.below).parts[:-1]
        return "-".join([*folders, self.stem])

    def names(self) -> list[str]:
        """The shortest one, and longer ones with what lies above."""
        if self.key is not None:
            return [self.key, f"{self.stem}-{self.key}"]
        above = self.path.absolute().parts[1:-1] if self.below == self.path else self.below.absolute().parts[1:]
        names = [self.shortest]
        for part in above[: -_ABOVE - 1 : -1]:
            names.append(f"{part}-{names[-1]}")
        return names


@dataclass(frozen=True, kw_only=True)
class PathCase:
    """A case whose inputs are files or values (`omlab.roles.Case`)."""

    id: str
    sources: Mapping[str, Source]
    target: Source | None = None
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    called: Called | None = None

    def names(self) -> Iterator[str]:
        """Its id, then longer ones that it may have where that is taken."""
        yield self.id
        if self.called is not None:
            yield from (name for name in self.called.names() if len(name) > len(self.id))

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """The files of each input, and of the target."""
        found = {name: source.paths for name, source in self.sources.items() if source.paths}
        return found | ({"target": self.target.paths} if self.target is not None and self.target.paths else {})

    def load(self) -> Sample:
        """Read it."""
        inputs = {name: source.read() for name, source in self.sources.items()}
        target = self.target.read() if self.target is not None else None
        return Sample(id=self.id, inputs=inputs, target=target, group=self.group, meta=self.meta)


def payload_of(value: Any, *, kind: str) -> Payload:
    """A payload made of a value. Raises `UsageError` where such payloads are only read from files."""
    offer = registry().get("payload", kind)
    card = validate(offer)
    assert isinstance(card, PayloadCard)
    made = getattr(load_entry(offer, card.entry), "from_value", None)
    if made is None:
        raise UsageError(f"{an(kind).capitalize()} cannot be given as a value: name a file.")
    payload: Payload = made(value)
    return payload


def cases_in(
    paths: Iterable[Path],
    kind: str,
    *,
    name: str,
    also: Mapping[str, Source] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> list[PathCase]:
    """The cases of the given paths: a file is one, a folder is one or holds several, a file of many entries is many.

    Ids are file names without their suffix, below a given folder with the folders between; of two that are alike
    both get the name of the folder above. The same file twice is one case.

    Args:
        paths: Files and folders.
        kind: What they are read as.
        name: Of the input that they are.
        also: The other inputs, the same for each case.
        settings: Of the formats.

    Raises `InputError` for a path that does not exist or a folder without anything readable.
    """
    cards = [card for card in format_cards() if kind in card.reads]
    found: dict[tuple[str, str | None], Called] = {}
    folders: dict[Path, str] = {}
    for path in paths:
        for case, key in _cases_of(path, kind, cards):
            called = Called(stem=_stem(case, cards), path=case, below=path, key=key)
            found.setdefault((_resolved(case, folders), key), called)
    ids = _unlike(list(found.values()))
    return [
        PathCase(
            id=id,
            sources={name: Source(kind=kind, paths=(one.path,), key=one.key, settings=settings or {}), **(also or {})},
            called=one,
        )
        for id, one in zip(ids, found.values(), strict=True)
    ]


def _resolved(path: Path, folders: dict[Path, str]) -> str:
    """Where a path leads to; its folder is looked up once for all that lie in it."""
    if path.is_symlink() or path.name in ("", ".."):
        return os.path.realpath(path)
    if path.parent not in folders:
        folders[path.parent] = os.path.realpath(path.parent)
    return f"{folders[path.parent]}{os.sep}{path.name}"


def _stem(path: Path, cards: Iterable[FormatCard]) -> str:
    name = path.name if path.name not in ("", "..") else path.absolute().resolve().name
    suffix = suffix_of(path, [card for card in cards if card.folders] if path.is_dir() else cards)
    return name[: len(name) - len(suffix)] or name


def _unlike(called: Sequence[Called]) -> list[str]:
    """One name for each case, all different: those alike all take their next longer one, whatever their order."""
    chosen, level = [one.shortest for one in called], [0] * len(called)
    while True:
        places: dict[str, list[int]] = {}
        for index, name in enumerate(chosen):
            places.setdefault(name, []).append(index)
        alike = [index for indices in places.values() if len(indices) > 1 for index in indices]
        if not alike:
            return chosen
        longer = {index: called[index].names()[level[index] + 1 :] for index in alike}
        if not any(longer.values()):
            raise InputError(f"Several inputs would be case '{chosen[alike[0]]}'; rename one or do them apart.")
        for index, names in longer.items():
            if names:
                chosen[index], level[index] = names[0], level[index] + 1


def _cases_of(path: Path, kind: str, cards: list[FormatCard]) -> list[tuple[Path, str | None]]:
    """The cases of a file or folder: (path, key of the entry)."""
    check_readable(path)
    if not path.is_dir():
        card = read_format(path, kind)
        return [(path, key) for key in _keys(card, path)] if card.many else [(path, None)]
    found = _cases_inside(path, kind, cards)
    if not found:
        raise InputError(f"The folder {path} holds nothing to read as {an(kind)}.")
    return found


def _cases_inside(folder: Path, kind: str, cards: list[FormatCard]) -> list[tuple[Path, str | None]]:
    """The files that can be read; without any the folder itself, where a format reads folders, else those in it.

    A folder that is named as a format's are is one; among such folders, as a run's are, files are no part of a case.
    Nor are a text and its like beside folders, where the files of such a case would be known by how they begin.
    Results of omlab are not the next inputs.
    """
    if suffix_of(folder, [card for card in cards if card.folders]):
        return [(folder, None)]
    results = _results_in(folder)
    children = [
        child for child in sorted(folder.iterdir()) if not child.name.startswith(".") and child.name not in results
    ]
    single = tuple(suffix for card in cards if not card.folders for suffix in card.suffixes)
    files = [child for child in children if child.is_file()]
    readable = [file for file in files if single and file.name.lower().endswith(single)]
    if readable:
        return [case for file in readable for case in _cases_of(file, kind, cards)]
    is_named = any(suffix_of(child, [card for card in cards if card.folders]) for child in children if child.is_dir())
    if files and any(card.folders for card in cards) and not is_named:
        if len(files) == len(children) or not all(_is_stray(file, cards) for file in files):
            return [(folder, None)]
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        warnings.warn(f"{files[0]}{more} beside folders of cases: left out.", OmlabNote, stacklevel=2)
    return [case for child in children if child.is_dir() for case in _cases_inside(child, kind, cards)]


def _is_stray(file: Path, cards: Sequence[FormatCard]) -> bool:
    """Whether a file is surely no part of a case that is a folder: another suffix than its files have, or a text.

    Formats whose files have no magic do not say enough of them.
    """
    of_folders = [card for card in cards if card.folders]
    if not all(card.magic for card in of_folders) or is_read(file, of_folders):
        return False
    if file.suffix[1:].isalpha():
        return True
    try:
        with file.open("rb") as stream:
            begin = stream.read(_A_LOOK)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    return bool(begin) and b"\0" not in begin


def _results_in(folder: Path) -> set[str]:
    """Names of the runs in a folder, and of the files that were made one by one: their logs stand beside them."""
    names = {log.parent.name for log in folder.glob(f"*/{LOG}")}
    for log in folder.glob(f"*.{LOG}"):
        described = read_log_file(log) or {}
        outputs = [row for case in described.get("cases", []) for row in case.get("outputs", [])]
        names |= {log.name, log.name.removesuffix(f".{LOG}"), *(row["path"] for row in outputs if "path" in row)}
    return names


def _keys(card: FormatCard, path: Path) -> Sequence[str]:
    index = getattr(implementation(card), "index")  # noqa: B009  # optional methods are no part of the protocol
    keys: Sequence[str] = index(path)
    return keys
